"""Passwords that users put into URIs, kept out of everything that is printed, logged or stored."""

import re

HIDDEN = "***"
# Up to the last @: an unescaped password may hold slashes and @s itself. A port with a path that holds an @ is none.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/?#@:\[]*:(?!\d*(?:[/?#\s]|$))\S*@|[^\s/?#]*@)")
_SECRET = r"[\w.\-]*(?:token|passw|pwd|secret|key|sig|credential|auth)[\w.\-]*|x-amz-[\w\-]+"
_PARAMETER = re.compile(rf"([?&;#](?:{_SECRET})=)[^\s&;#'\"]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text; in its URIs `***` stands for user names, passwords, and the query's tokens, keys and signatures."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))
