"""griffe extension: the comment or `Field(description=…)` of a class's field becomes its description in the API reference."""

import re

import griffe

DESCRIPTION = re.compile(r"""description=(["'])(.+?)\1""", re.DOTALL)


class FieldComments(griffe.Extension):
    """Describes fields that have no docstring of their own."""

    def on_attribute(self, *, attr, **kwargs):
        """Called for each attribute of a class or module."""
        if attr.docstring is not None or attr.parent is None or not attr.parent.is_class or not attr.lineno:
            return
        lines = attr.lines_collection[attr.filepath][attr.lineno - 1 : attr.endlineno]
        described = DESCRIPTION.search(" ".join(line.strip() for line in lines))
        comments = [line.partition("  # ")[2] for line in lines]
        text = described[2] if described else " ".join(comment for comment in comments if comment)
        if text:
            attr.docstring = griffe.Docstring(text[0].upper() + text[1:], parent=attr)
