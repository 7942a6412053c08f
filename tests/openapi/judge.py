"""Whether an OpenAPI document is one, and whether what was said fits it.

    judge.py FILE

FILE is JSON: `document`, and `said`, a list of method, path, body, status and answer. Prints what is wrong, one line each; exits 1 if
there was something.
"""

import json
import pathlib
import re
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

WHOLE = "urn:openapi"


def absolute(node):
    """The same schema, with references that lead into the whole document."""
    if isinstance(node, dict):
        return {key: WHOLE + value if key == "$ref" else absolute(value) for key, value in node.items()}
    return [absolute(each) for each in node] if isinstance(node, list) else node


def closed(node):
    """The same document, where an object has the fields that are described and no other."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node.setdefault("additionalProperties", False)
    return node


def main(path):
    told = json.loads(pathlib.Path(path).read_text())
    document = told["document"]
    wrong = [f"the document: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    document = absolute(closed(document))
    registry = Registry().with_resource(WHOLE, Resource(contents=document, specification=DRAFT202012))
    registry = registry.with_resource("", Resource(contents=document, specification=DRAFT202012))
    routes = {
        (method, template): re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)) + "$")
        for template, methods in document["paths"].items()
        for method in methods
    }
    # Those without braces first: they are meant when both fit.
    order = sorted(routes, key=lambda route: route[1].count("{"))
    seen = set()
    for one in told["said"]:
        bare = one["path"].split("?")[0]
        route = next(route for route in order if route[0] == one["method"] and routes[route].match(bare))
        operation = document["paths"][route[1]][route[0]]
        what = f"{one['method']} {one['path']}: {one['status']}"
        good = one["status"] == 200
        if good:
            seen.add(route)
        answer = operation["responses"]["200"] if good else document["components"]["responses"]["Problem"]
        checks = [("answer", answer["content"]["application/json"]["schema"])]
        if good and "requestBody" in operation:
            checks.append(("body", operation["requestBody"]["content"]["application/json"]["schema"]))
        for part, schema in checks:
            for error in Draft202012Validator(schema, registry=registry).iter_errors(one[part]):
                wrong.append(f"{what}: {part} {error.json_path}: {error.message}")
        if not good and one["status"] != one["answer"].get("status"):
            wrong.append(f"{what}: {one['answer']}")
    # What cannot come about here: it needs a device's or an agent's TLS handshake, a standby that is prepared with the server stopped, a second
    # operator, or an operator who can log in; or it is a file.
    elsewhere = {
        ("post", "/enrol/confirm"),
        ("post", "/authorities/{name}/rollover/{step}"),
        ("post", "/revocations/{verdict}"),
        ("get", "/certificates/{serial}/{format}"),
        *(route for route in routes if route[1].startswith(("/account", "/agent"))),
    }
    wrong += [f"never tried with success: {method} {template}" for method, template in set(routes) - seen - elsewhere]
    print("\n".join(wrong))
    return bool(wrong)


sys.exit(main(sys.argv[1]))
