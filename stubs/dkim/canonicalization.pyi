class Relaxed:
    name: bytes
    @staticmethod
    def canonicalize_headers(
        headers: list[tuple[bytes, bytes]],
    ) -> list[tuple[bytes, bytes]]: ...
    @staticmethod
    def canonicalize_body(body: bytes) -> bytes: ...

class Simple:
    name: bytes
    @staticmethod
    def canonicalize_headers(
        headers: list[tuple[bytes, bytes]],
    ) -> list[tuple[bytes, bytes]]: ...
    @staticmethod
    def canonicalize_body(body: bytes) -> bytes: ...
