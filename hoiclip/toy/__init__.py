"""A procedurally drawn world of people and everyday objects, with exact interaction labels."""
