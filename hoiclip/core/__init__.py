"""What every stage stands on: tables and classes of the data, params, files."""
