"""Pages that the program tells about itself: commands, file format, results, catalogue, scope."""

from __future__ import annotations

from reference.catalogue import catalogue_pages
from reference.commands import commands_page
from reference.file_format import file_format_page
from reference.results import results_page
from reference.scope import messages_page, not_supported_page

__all__ = ["reference_pages"]


def reference_pages() -> dict[str, str]:
    """Return the Markdown of every page made from the program, by its place in the site."""
    return {
        "reference/commands.md": commands_page(),
        "reference/keys.md": file_format_page(),
        "reference/results.md": results_page(),
        "reference/messages.md": messages_page(),
        "not-supported.md": not_supported_page(),
        **catalogue_pages(),
    }
