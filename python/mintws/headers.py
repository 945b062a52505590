"""Header fields of HTTP messages (RFC 9110 §5)."""

from __future__ import annotations

from typing import Any, SupportsIndex, overload


class HeaderFields(tuple[tuple[str, str], ...]):
    """Header fields: a tuple of pairs of name and value, in the order of their lines, which also finds values by name.

    Names are compared without case. `headers["name"]` is the value; of several lines with the same name it is theirs, joined with commas
    (§5.2). `"name" in headers` tells whether there is one.
    """

    __slots__ = ()

    @overload
    def __getitem__(self, key: str) -> str: ...
    @overload
    def __getitem__(self, key: SupportsIndex) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[tuple[str, str], ...]: ...
    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        values = self.all(key)
        if not values:
            raise KeyError(key)
        return ", ".join(values)

    def __contains__(self, key: object) -> bool:
        return bool(self.all(key)) if isinstance(key, str) else super().__contains__(key)

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a name, as `headers[name]` does, or `default` if there is none."""
        values = self.all(name)
        return ", ".join(values) if values else default

    def all(self, name: str) -> list[str]:
        """Return the values of all lines with a name, for what is no list, such as Set-Cookie."""
        wanted = name.lower()
        return [value for name, value in self if name.lower() == wanted]
