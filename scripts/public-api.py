#!/usr/bin/env python3
"""Lists what is public in a crate, from rustdoc's JSON: a line for each item, sorted. scripts/public-api.sh calls it."""

import json
import sys

# What rustdoc of Rust 1.89 to 1.97 writes; later formats may need a look at this.
FORMATS = range(45, 61)
# Traits that every type has or hasn't without saying so, of which somebody may still depend on these.
AUTO = {"Send", "Sync"}


class Crate:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.data = json.load(file)
        if self.data["format_version"] not in FORMATS:
            sys.exit(f"rustdoc's JSON has format {self.data['format_version']}, known are {FORMATS.start} to {FORMATS.stop - 1}")
        self.index = self.data["index"]
        self.lines = set()
        self.seen = set()
        self.names = {}

    def item(self, number):
        return self.index.get(str(number))

    def listing(self):
        root = self.item(self.data["root"])
        self.module(root, root["name"])
        return sorted(self.lines)

    def add(self, line):
        # What is said of an item comes last, so that the list is sorted by names.
        said = [word for word in ("#[non_exhaustive]", "#[must_use]") if word in line]
        for word in said:
            line = line.replace(word, "")
        self.lines.add(" ".join(line.split() + said))

    # Items

    def module(self, item, path):
        self.add(f"mod {path}")
        children = [self.item(number) for number in item["inner"]["module"]["items"]]
        # What has a name further up is told there, and only named below.
        for child in sorted(filter(None, children), key=lambda child: "module" in child["inner"]):
            use = child["inner"].get("use")
            if use is None:
                if child["visibility"] == "public":
                    self.named(child, f"{path}::{child['name']}")
                continue
            target = self.item(use["id"]) if use["id"] is not None else None
            if target is None:
                self.add(f"use {path}::{use['name']} = {use['source']}")
            elif use["is_glob"]:
                self.module(target, path)
            else:
                self.named(target, f"{path}::{use['name']}")

    def named(self, item, path):
        (kind, inner), = item["inner"].items()
        first = self.names.setdefault(item["id"], path)
        if first != path:
            self.add(f"use {path} = {first}")
            return
        must_use = "#[must_use] " if "must_use" in json.dumps(item["attrs"]) else ""
        growing = "#[non_exhaustive] " if "non_exhaustive" in json.dumps(item["attrs"]) else ""
        attributes = growing + must_use
        if kind == "module":
            self.module(item, path)
        elif kind == "function":
            self.add(attributes + self.function(inner, path))
        elif kind == "struct":
            self.add(f"{attributes}struct {path}{self.generics(inner['generics'])}{self.fields(inner['kind'], path)}")
            self.impls(inner["impls"], path)
        elif kind == "enum":
            self.add(f"{attributes}enum {path}{self.generics(inner['generics'])}")
            for number in inner["variants"]:
                variant = self.item(number)
                shape = variant["inner"]["variant"]["kind"]
                name = f"{path}::{variant['name']}"
                growing = "#[non_exhaustive] " if "non_exhaustive" in json.dumps(variant["attrs"]) else ""
                self.add(f"{growing}variant {name}{self.fields(shape, name)}")
            self.impls(inner["impls"], path)
        elif kind == "trait":
            bounds = self.bounds(inner["bounds"])
            self.add(f"trait {path}{self.generics(inner['generics'])}{': ' + bounds if bounds else ''}")
            for number in inner["items"]:
                self.associated(self.item(number), path, needed=True)
            for number in inner["implementations"]:
                implementation = self.item(number)
                if implementation:
                    of = implementation["inner"]["impl"]
                    self.add(f"impl {path} for {self.type(of['for'])}")
        elif kind in ("constant", "static"):
            self.add(f"{kind} {path}: {self.type(inner['type'])}")
        elif kind == "type_alias":
            self.add(f"type {path}{self.generics(inner['generics'])} = {self.type(inner['type'])}")
        else:
            self.add(f"{kind} {path}")

    def fields(self, kind, path):
        """What is behind a name; public fields get lines of their own."""
        if kind in ("unit", "plain"):
            return ""
        (shape, inner), = kind.items()
        if shape == "tuple":
            types = [self.type(self.item(n)["inner"]["struct_field"]) if n is not None and self.item(n) else "_" for n in inner]
            return f"({', '.join(types)})"
        for number in inner["fields"]:
            field = self.item(number)
            if field:
                self.add(f"field {path}.{field['name']}: {self.type(field['inner']['struct_field'])}")
        return " { .. }" if inner.get("has_stripped_fields") else ""

    def impls(self, numbers, path):
        for number in numbers:
            item = self.item(number)
            if item is None:
                continue
            impl = item["inner"]["impl"]
            if impl.get("blanket_impl"):
                continue
            if impl["trait"] is None:
                for member in impl["items"]:
                    self.associated(self.item(member), path)
                continue
            name = impl["trait"]["path"]
            last = name.split("::")[-1]
            if last == "StructuralPartialEq" or (impl["is_synthetic"] and last not in AUTO):
                continue
            no = "!" if impl["is_negative"] else ""
            self.add(f"impl {no}{self.path(impl['trait'])} for {path}{'' if not self.bound_params(impl) else ' where ' + self.bound_params(impl)}")

    def bound_params(self, impl):
        shown = [
            f"{param['name']}: {self.bounds(param['kind']['type']['bounds'])}"
            for param in impl["generics"]["params"]
            if "type" in param["kind"] and param["kind"]["type"]["bounds"]
        ]
        return ", ".join(shown)

    def associated(self, item, path, needed=False):
        if item is None or (not needed and item["visibility"] not in ("public", "default")):
            return
        (kind, inner), = item["inner"].items()
        name = f"{path}::{item['name']}"
        must_use = "#[must_use] " if "must_use" in json.dumps(item["attrs"]) else ""
        if kind == "function":
            given = " { .. }" if needed and inner["has_body"] else ""
            self.add(must_use + self.function(inner, name) + given)
        elif kind == "assoc_const":
            self.add(f"const {name}: {self.type(inner['type'])}")
        elif kind == "assoc_type":
            self.add(f"type {name}")

    def function(self, inner, path):
        signature, header = inner["sig"], inner["header"]
        words = "".join(f"{word} " for word in ("const", "async", "unsafe") if header[f"is_{word}"])
        inputs = []
        for name, kind in signature["inputs"]:
            shown = self.type(kind)
            inputs.append({"Self": "self", "&Self": "&self", "&mut Self": "&mut self"}.get(shown, f"self: {shown}") if name == "self" else f"{name}: {shown}")
        output = f" -> {self.type(signature['output'])}" if signature["output"] else ""
        where = self.where(inner["generics"])
        return f"{words}fn {path}{self.generics(inner['generics'])}({', '.join(inputs)}){output}{where}"

    # Types

    def generics(self, generics):
        params = []
        for param in generics["params"]:
            (kind, inner), = param["kind"].items()
            if kind == "type" and inner.get("is_synthetic"):
                continue
            if kind == "type" and inner["bounds"]:
                params.append(f"{param['name']}: {self.bounds(inner['bounds'])}")
            elif kind == "const":
                params.append(f"const {param['name']}: {self.type(inner['type'])}")
            else:
                params.append(param["name"])
        return f"<{', '.join(params)}>" if params else ""

    def where(self, generics):
        shown = []
        for predicate in generics["where_predicates"]:
            if "bound_predicate" in predicate:
                bound = predicate["bound_predicate"]
                shown.append(f"{self.type(bound['type'])}: {self.bounds(bound['bounds'])}")
        return f" where {', '.join(shown)}" if shown else ""

    def bounds(self, bounds):
        shown = []
        for bound in bounds:
            if "trait_bound" in bound:
                maybe = "?" if bound["trait_bound"]["modifier"] == "maybe" else ""
                shown.append(maybe + self.path(bound["trait_bound"]["trait"]))
            elif "outlives" in bound:
                shown.append(bound["outlives"])
        return " + ".join(shown)

    def path(self, path):
        return path["path"].split("::")[-1] + self.args(path.get("args"))

    def args(self, args):
        if not args:
            return ""
        if "parenthesized" in args:
            inner = args["parenthesized"]
            output = f" -> {self.type(inner['output'])}" if inner["output"] else ""
            return f"({', '.join(self.type(kind) for kind in inner['inputs'])}){output}"
        inner = args.get("angle_bracketed")
        if inner is None:
            return ""
        shown = []
        for arg in inner["args"]:
            if arg == "infer":
                shown.append("_")
                continue
            (kind, value), = arg.items()
            shown.append({"type": self.type, "lifetime": str, "const": lambda c: c["expr"]}[kind](value))
        for constraint in inner["constraints"]:
            (kind, value), = constraint["binding"].items()
            if kind == "equality":
                shown.append(f"{constraint['name']} = {self.type(value.get('type'))}")
            else:
                shown.append(f"{constraint['name']}: {self.bounds(value)}")
        return f"<{', '.join(shown)}>" if shown else ""

    def type(self, kind):
        if kind is None:
            return "()"
        (name, inner), = kind.items()
        if name == "resolved_path":
            return self.path(inner)
        if name in ("primitive", "generic"):
            return inner
        if name == "borrowed_ref":
            lifetime = f"{inner['lifetime']} " if inner["lifetime"] else ""
            return f"&{lifetime}{'mut ' if inner['is_mutable'] else ''}{self.type(inner['type'])}"
        if name == "slice":
            return f"[{self.type(inner)}]"
        if name == "array":
            return f"[{self.type(inner['type'])}; {inner['len']}]"
        if name == "tuple":
            return f"({', '.join(self.type(part) for part in inner)})"
        if name == "impl_trait":
            return f"impl {self.bounds(inner)}"
        if name == "dyn_trait":
            traits = [self.path(part["trait"]) for part in inner["traits"]]
            return "dyn " + " + ".join(traits + ([inner["lifetime"]] if inner["lifetime"] else []))
        if name == "qualified_path":
            of = self.path(inner["trait"]) if inner.get("trait") else ""
            base = self.type(inner["self_type"])
            return f"<{base} as {of}>::{inner['name']}" if of else f"{base}::{inner['name']}"
        if name == "function_pointer":
            output = f" -> {self.type(inner['sig']['output'])}" if inner["sig"]["output"] else ""
            return f"fn({', '.join(self.type(part) for _, part in inner['sig']['inputs'])}){output}"
        if name == "raw_pointer":
            return f"*{'mut' if inner['is_mutable'] else 'const'} {self.type(inner['type'])}"
        return name


if __name__ == "__main__":
    print("\n".join(Crate(sys.argv[1]).listing()))
