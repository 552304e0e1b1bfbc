"""A snapshot of the journal, to read, filter, verify and write down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from mock_server.journal.entry import Entry

if TYPE_CHECKING:
    from mock_server.journal.har import Json


class Entries(Sequence[Entry]):
    """A snapshot of entries, oldest first, that prints itself one a line.

    Args:
        entries: those that are recorded.
        forgotten: how many were before them and had to make room.
    """

    __slots__ = ("_entries", "forgotten")

    def __init__(self, entries: Sequence[Entry], forgotten: int = 0) -> None:
        self._entries = tuple(entries)
        self.forgotten = forgotten

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> Entry | Entries:
        return Entries(self._entries[index], self.forgotten) if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._entries)) or "(no requests)"

    def where(self, **filters: Any) -> Entries:
        """Those that fit every filter: ``where(model="ernie-4.0-8k", ok=False)``.

        A list of values fits any of them; of ``contains`` all have to be there. The filters: ``dialect``,
        ``operation``, ``method``, ``path``, ``model``, ``account``, ``status``, ``code``, ``ok``, ``stream``,
        ``contains``, ``answered_by``, ``rule``, ``signature``, ``scheme``, ``outcome``, ``request_id``, ``since``,
        ``until``, ``predicate``; ``docs/journal.md`` has what each takes.

        Raises:
            TypeError: there is no such filter; the message names the nearest.
            ValueError: a value is none that the filter can have.
        """
        from mock_server.journal.filters import Filters  # noqa: PLC0415 - see the package

        wanted = Filters(filters)
        return Entries([entry for entry in self._entries if wanted.fit(entry)], self.forgotten)

    def verify(
        self,
        *,
        exactly: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        never: bool = False,
        **filters: Any,
    ) -> Entries:
        """See that so many requests came that fit the filters of `where`; without a number, at least one.

        Returns:
            Those that fit.

        Raises:
            VerificationFailed: another number came. An `AssertionError` that shows what came and what was nearest.
            TypeError: there is no such filter.
            ValueError: the numbers contradict each other, or a filter has no such value.
        """
        from mock_server.journal.verify import Count, verify  # noqa: PLC0415 - see the package

        __tracebackhide__ = True
        return verify(self, Count.of(exactly=exactly, at_least=at_least, at_most=at_most, never=never), filters)

    def verify_in_order(self, expected: Sequence[Mapping[str, Any]]) -> Entries:
        """See that requests came that fit these filters, one after the other; others may lie between them.

        Args:
            expected: the filters of each request, as `where` takes them.

        Returns:
            The request found for each.

        Raises:
            VerificationFailed: one is missing, or came too early.
            TypeError: there is no such filter.
            ValueError: a filter has no such value, or nothing is expected.
        """
        from mock_server.journal.verify import verify_in_order  # noqa: PLC0415 - see the package

        __tracebackhide__ = True
        return verify_in_order(self, expected)

    def to_jsonl(self) -> str:
        """One JSON object a line, as `Entry.to_dict` has it, secrets masked."""
        from mock_server.journal.export import jsonl  # noqa: PLC0415 - see the package

        return jsonl(self)

    def to_har(self, *, creator: str = "qfkit", version: str | None = None, comment: str = "") -> Json:
        """An HTTP archive (HAR 1.2), secrets masked, as browsers' developer tools and proxies read it.

        Args:
            creator: the program that made it.
            version: of that program; None is the installed qfkit's.
            comment: of the whole archive.
        """
        from mock_server.journal.har import archive  # noqa: PLC0415 - see the package

        return archive(self, creator=creator, version=version, comment=comment)
