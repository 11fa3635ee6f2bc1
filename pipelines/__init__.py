"""The project's DVC pipeline run by Prefect, and the profiles of its parameters."""
