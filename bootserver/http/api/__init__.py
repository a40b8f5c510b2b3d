"""The REST API of the admin plane: `/api/v1`, described by its own openapi.json."""
