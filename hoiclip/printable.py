"""Text that is safe on a terminal and in a page."""


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would act on or cannot show.

    Control and formatting characters (ANSI sequences, changes of writing direction) and bytes of
    file names that are not UTF-8 become backslash escapes.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
