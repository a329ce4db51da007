"""A stand-in for curl with the options of the README: `curl.py BASE ARG ...` sends to BASE."""

import argparse
import sys
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

parser = argparse.ArgumentParser()
parser.add_argument("base")
parser.add_argument("url")
parser.add_argument("-s", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="data", action="append")
asked = parser.parse_args()
url = urlsplit(f"http://{asked.url}")

request = Request(  # noqa: S310
    f"{asked.base}{url.path}?{url.query}",
    method=asked.method,
    data="&".join(asked.data).encode() if asked.data else None,
    headers=dict(header.split(": ", 1) for header in asked.headers),
)
try:
    response = urlopen(request)  # noqa: S310
except HTTPError as error:
    response = error
sys.stdout.write(response.read().decode())
