"""The error tree: every message is for a person, every hint says what to do next."""


class BootServerError(Exception):
    """Something a person can put right: what happened, and in `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(BootServerError):
    """config.toml (or its environment variables) cannot be used."""


class ImageError(BootServerError):
    """A recovery image cannot be read, added or booted."""


class ImageNotFoundError(ImageError):
    """No image of that id is in the library."""


class ImageNotReadyError(ImageError):
    """The image is there, but its digest is still being computed, or its file has just changed."""


class LoaderMissingError(BootServerError):
    """A boot loader that the stub or the boot plane needs is not in stub/build."""


class CertificateError(BootServerError):
    """A certificate or its private key cannot be used, or not be made."""


class StubError(BootServerError):
    """A stub cannot be planned or written as asked."""


class ServerFullError(BootServerError):
    """The server has as many of something as it is to have at once."""


class UnknownTokenError(BootServerError):
    """A path of the boot plane has a token that is no stub's and no session's."""


class DatabaseError(BootServerError):
    """The database cannot be read or written now."""


class ServiceError(BootServerError):
    """The server cannot start, or a part of it cannot serve."""
