"""Read the file of services: a strict subset of Compose."""
