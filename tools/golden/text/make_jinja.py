"""Writes two fixtures of crates/aludel-text/tests/fixtures: jinja.json, what Jinja2 makes of many small templates in the environment that
transformers gives to chat templates, and looking.json, what it makes of templates that look at what messages say.

    python make_jinja.py --output ../../../crates/aludel-text/tests/fixtures

Needs transformers (which brings Jinja2) alone. A case of jinja.json is a template and its text, or null where Jinja2 refuses it.
"""

import argparse
import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

VARIABLES = {
    "s": ["", "abc", "Hello wOrld", " \t x y\n", "ÄÖß é", "a,b,,c", "one\ntwo\n\nfour\n", "12", "-3.7e1", "<b>&\"it's\"</b>", "日本", "they're bill's 3rd-class x_y", "aaaa"],
    "n": [0, 1, -7, 3, 10, 2.5, -0.5, 3.0, 1e16, 1.5e-5, 123456789012, 1e22, 0.1],
    "c": [[], [3, 1, 2], ["b", "a", "C", "a"], [[1, 2], [3]], {}, {"b": 1, "a": "x", "C": None}, [1, 2.0, True, None, "x'y", "q\"'\n\\é"], [[], {}, [None]]],
    "o": [None, True, False],
    "people": [{"name": "Bo", "age": 3, "tags": ["x"]}, {"name": "al", "age": 1, "tags": []}, {"name": "Cy", "age": 3, "tags": ["y", "z"]}, {"name": "al", "age": 2, "tags": None}],
    "deep": {"a": {"b": [1, {"c": "d"}]}, "items": 5, "keys": "k"},
    "text": "The quick brown fox jumps over the lazy dog, and runs away.",
}
STRINGS = [f"s[{i}]" for i in range(len(VARIABLES["s"]))]
NUMBERS = [f"n[{i}]" for i in range(len(VARIABLES["n"]))]
CONTAINERS = [f"c[{i}]" for i in range(len(VARIABLES["c"]))]
OTHERS = ["o[0]", "o[1]", "o[2]", "missing"]
FEW = ["s[1]", "s[7]", "n[3]", "n[2]", "n[5]", "c[1]", "c[2]", "c[5]", "o[0]", "o[1]", "missing"]
ALL = STRINGS + NUMBERS + CONTAINERS + OTHERS
LITERALS = ["'it\\'s'", "\"a\\nb\\t\\\\\"", "(1, 'a')", "(1,)", "()", "[1, (2, 3)]", "{'a': 1, 'b': [none, true]}", "{1: 2, 'k': (1,)}", "1_000", "1.5e3", "1e3", "-1", "+1", "true", "True", "none", "None", "false", "'a' 'b'", "'\\u00e9\\x41'", "'\\q'", "{'a': 'b'}.a", "0x1F", "0o17", "0b11", "[1, 2,]", "'a' if false", "(1 if false) is defined", "12345678901234567890123", "'\\n\\'\"'", "['\\n\\'\"']", "[1.0, 1e20, 1e-7]"]

METHODS = {
    "capitalize": ["()"], "casefold": ["()"], "center": ["(10)", "(9, '*')"], "count": ["('a')", "('a', 1)", "('')"], "endswith": ["('c')", "(('x', 'c'))", "('b', 0, 2)", "('')"],
    "expandtabs": ["()", "(4)"], "find": ["('a')", "('b', 2)", "('zz')", "('a', 1, 3)"], "index": ["('a')", "('l', 3)"], "isalnum": ["()"], "isalpha": ["()"], "isascii": ["()"],
    "isdecimal": ["()"], "isdigit": ["()"], "isidentifier": ["()"], "islower": ["()"], "isnumeric": ["()"], "isprintable": ["()"], "isspace": ["()"], "istitle": ["()"],
    "isupper": ["()"], "join": ["(['x', 'y'])", "('xyz')", "([1, 2])", "([])"], "ljust": ["(10)", "(8, '.')"], "lower": ["()"], "lstrip": ["()", "('aH ')", "(none)"], "partition": ["('b')", "(',')"],
    "removeprefix": ["('ab')", "('')"], "removesuffix": ["('bc')", "('')"], "replace": ["('a', 'X')", "('a', 'X', 1)", "('', '-')", "('a', '', -1)"], "rfind": ["('a')", "('l', 0, 5)"],
    "rindex": ["('a')"], "rjust": ["(10)", "(8, '0')"], "rpartition": ["('b')", "(',')"], "rsplit": ["()", "(',')", "(',', 1)", "(none, 1)", "(maxsplit=1)", "(sep=',', maxsplit=2)"], "rstrip": ["()", "('cd\\n')"],
    "split": ["()", "(',')", "(',', 1)", "(none, 1)", "(maxsplit=1)", "('b')", "('')", "(' ')", "(',', -1)", "('\\n')", "(',', 0)"], "splitlines": ["()", "(true)", "(keepends=true)"], "startswith": ["('a')", "(('x', 'a'))", "('b', 1)"],
    "strip": ["()", "('aH \\n')", "('')"], "swapcase": ["()"], "title": ["()"], "translate": ["({97: 'X'})"], "upper": ["()"], "zfill": ["(6)", "(1)"], "encode": ["()"], "format": ["()"], "format_map": ["({})"],
    "__len__": ["()"], "nothing": ["()"], "removeprefix ": ["()"],
}
CONTAINER_METHODS = {
    "get": ["('a')", "('zz')", "('zz', 5)", "('b', default=1)"], "items": ["()", "() | list", "() | length"], "keys": ["()", "() | list", "() | sort"], "values": ["()", "() | list"], "copy": ["()"],
    "count": ["('a')", "(1)"], "index": ["(1)", "('a')", "('a', 2)"], "append": ["(1)"], "extend": ["([1])"], "insert": ["(0, 1)"], "pop": ["()", "('a')"], "remove": ["(1)"], "reverse": ["()"],
    "sort": ["()"], "update": ["({'a': 1})"], "clear": ["()"], "setdefault": ["('q', 1)"], "popitem": ["()"], "fromkeys": ["(['a'])"],
}
FILTERS = {
    "abs": [""], "attr": ["('name')", "('upper')"], "batch": ["(2)", "(2, 'x')"], "capitalize": [""], "center": ["", "(9)"], "count": [""], "default": ["", "('d')", "('d', true)", "(default_value='d', boolean=true)"], "d": ["('x')", "('x', boolean=True)"],
    "dictsort": ["", "(true)", "(by='value')", "(reverse=true)", "(false, 'key', true)"], "e": [""], "escape": [""], "filesizeformat": ["", "(true)"], "first": [""], "float": ["", "(1.5)", "(default='q')"],
    "forceescape": [""], "format": ["", "('x')", "(1, 2)"], "groupby": ["(0)", "('name')"], "indent": ["", "(2)", "(2, true)", "(2, first=true, blank=true)", "('> ')", "(width=1, blank=true)"], "int": ["", "(5)", "(0, 16)", "(default=3)", "(base=8)"], "items": ["", "| list"],
    "join": ["", "(', ')", "('-', attribute='name')", "(d='|')", "(1)"], "last": [""], "length": [""], "list": [""], "lower": [""], "map": ["('upper')|list", "(attribute='name')|list", "(attribute='x', default='z')|list", "('int')|list", "('string')|list", "('length')|list", "|list", "('replace', 'a', 'b')|list", "(attribute=0)|list"],
    "max": ["", "(true)", "(attribute='age')"], "min": ["", "(true)", "(case_sensitive=true)"], "pprint": [""], "random": ["|string|length"], "reject": ["|list", "('odd')|list", "('string')|list", "('eq', 'a')|list"], "rejectattr": ["('name')|list"],
    "replace": ["('a', 'X')", "('a', 'X', 1)", "('', '-')", "(1, 2)", "('a', 'b', count=2)"], "reverse": ["", "|list", "|string"], "round": ["", "(1)", "(0, 'floor')", "(1, 'ceil')", "(method='ceil')", "(-1)", "|int", "(precision=2)", "('1')", "(0, 'up')"],
    "safe": [""], "select": ["|list", "('odd')|list", "('string')|list", "('eq', 'a')|list", "('in', [1, 'a'])|list", "('>', 1)|list"], "selectattr": ["('name')|list", "('0')|list"], "slice": ["(2)|list", "(2, 'x')|list", "(3)|list"],
    "sort": ["", "(true)", "(reverse=true)", "(case_sensitive=true)", "(false, true)"], "string": ["", "|length", " ~ 'x'"], "striptags": [""], "sum": ["", "(start=5)", "(attribute=0)"], "title": [""],
    "tojson": ["", "(indent=2)", "(ensure_ascii=true)", "(true)", "(false, 1)", "(sort_keys=true)", "(separators=(',', ':'))", "(indent='--')", "(indent=0)"], "trim": ["", "('a')", "('aH b\\n')", "(chars='x')"], "truncate": ["", "(5)", "(5, true)", "(6, false, '!')", "(5, true, '', 0)", "(length=2, leeway=0, end='')"],
    "unique": ["|list", "(true)|list", "(attribute='name')|list"], "upper": [""], "urlencode": [""], "urlize": [""], "wordcount": [""], "wordwrap": ["", "(3)", "(3, false)", "(3, true, '|')", "(width=5, break_on_hyphens=false)"], "xmlattr": [""],
    # what other engines know and Jinja2 does not
    "bool": [""], "chain": ["([1])|list"], "zip": ["([1])|list"], "lines": ["|list"], "split": ["|list"], "filter": [""], "nothing": [""],
}
TESTS = ["boolean", "callable", "defined", "undefined", "divisibleby 3", "divisibleby(2)", "eq 3", "equalto('abc')", "== 3", "escaped", "even", "odd", "false", "true", "float", "integer", "number", "filter", "test", "ge 1", "gt 1", "greaterthan 1", "> 1", "in [1, 'abc']",
         "in('xabcx')", "iterable", "le 3", "lt 3", "lessthan 3", "lower", "upper", "mapping", "ne 3", "none", "sameas true", "sameas none", "sameas 3", "sequence", "string", "not string", "not none", "int", "safe", "startingwith 'a'", "endingwith 'a'", "nothing"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
OPERANDS = ["s[1]", "s[0]", "s[7]", "n[0]", "n[2]", "n[3]", "n[5]", "n[6]", "n[8]", "c[0]", "c[1]", "c[3]", "c[5]", "o[0]", "o[1]", "missing", "(1, 2)"]
SLICES = ["[0]", "[-1]", "[9]", "[-9]", "[1:]", "[:-1]", "[::-1]", "[::2]", "[1:3]", "[-2:]", "[5:2]", "[2:0:-1]", "[-1::-2]", "['a']", "['zz']", ".a", ".zz", "[1.0]", "[true]", "[none]", "[missing]", "[:missing]", "[:none]", "[:-9]", "[9:]", "[-9:2]", "['name']", "['upper']", ".0", "[0][0]", ".items", "[9:-9:-1]"]
FORMATS = [
    "'%s' % s[1]", "'%s' % n[3]", "'%s' % 2.0", "'%s' % none", "'%s' % true", "'%s' % [1, 'a']", "'%s' % {'a': 1}", "'%s' % c[5]", "'%s' % missing", "'%s and %s' % ('a', 1)", "'%s' % ('a',)", "'%d' % 3", "'%d' % 3.9", "'%d' % -3.9", "'%i' % true", "'%r' % 'a'", "'%r' % \"it's\"", "'%a' % 'é'",
    "'%f' % 1", "'%.2f' % 2.675", "'%05.2f' % 3.14159", "'%-8s|' % 'ab'", "'%8s|' % 'ab'", "'%+d' % 5", "'% d' % 5", "'%05d' % -42", "'%x' % 255", "'%X' % 255", "'%#x' % 255", "'%o' % 8", "'%e' % 12345.678", "'%E' % 0.00012", "'%g' % 1e10", "'%g' % 0.0001", "'%g' % 100000", "'%G' % 1e-10", "'%c' % 'x'", "'%c' % 65",
    "'100%%' % ()", "'%%' % 1", "'%(a)s-%(b)d' % {'a': 'x', 'b': 2}", "'%(b)s' % c[5]", "'%(zz)s' % {'a': 1}", "'%s' % ('a', 'b')", "'%s %s' % 'a'", "'x' % 1", "'x' % {}", "'x' % []", "'x' % ()", "'%d' % 'a'", "'%z' % 1", "'%' % 1", "'%.3s' % 'abcdef'", "'%*d' % (5, 42)", "'%5.1f%%' % 12.345", "'%s' % (1, 2) ~ 'x'", "'a%sb' % 1 + 'c'",
    "'%s' % 'a' | upper", "('%s' % 'a') | upper", "'%s %s' % (1, 2) if true else 'n'", "7 % 3 * 2", "2 * 7 % 4", "-7 % 3", "-(7 % 3)", "7 % -3", "7.5 % 2", "2 ** 3 % 5", "1 + 7 % 3 - 1", "10 // 3 % 2", "not 4 % 2", "4 % 2 == 0", "'%d%%' % 7 ~ '!'", "[7 % 3, '%s' % 1]", "{'a': 7 % 3}['a']", "range(7 % 4) | list", "'%s' % s[1][0]", "'%s' % s[1].upper()", "'%s' % s | length",
    "'%%%s' % 1", "'%-5d|' % 3", "'%+.1e' % 3", "'%s' % -1", "'%i items' % n[4]", "s[1] % 1", "'%s' % 1e16", "'%s' % 0.1", "'%d' % 1e16", "'%d' % 12345678901234567890", "'%.0f' % 0.5", "'%.0f' % 1.5", "'%.10g' % 0.1", "'%r' % [1.5, 'x']", "'%5s' % 'é'", "'%05s' % 'a'", "'%u' % 3", "'%ld' % 3",
    "'{}'.format(1)", "'{0}-{1}-{0}'.format('a', 2)", "'{a}'.format(a=1)", "'{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c')", "'{:05.2f}'.format(3.14159)", "'{:,}'.format(1234567)", "'{!r}'.format('a')", "'{{}}'.format()", "'{:x}'.format(255)", "'{:.3}'.format('abcdef')", "'{:d}'.format(3.0)", "'{:.1%}'.format(0.256)", "'{}'.format(none)", "'{}'.format([1, 'a'])", "'{} {}'.format(1)", "'{a.b}'.format(a={'b': 1})", "'{a[b]}'.format(a={'b': 1})", "'{:*^9}'.format('x')", "'{:+}'.format(3)", "'{:e}'.format(1234.5)", "'{}'.format(1e16)", "'{:g}'.format(1e16)", "'{:_}'.format(1234567)", "'{:b}'.format(5)", "'{:#x}'.format(255)", "'{:5}|'.format(3)", "'{:5}|'.format(true)", "'{:>5}|'.format(none)", "'%s' | format('x')", "'%s %(a)s' | format(a=1)", "'%(a)s' | format(a=1)", "'%s' | format([1])", "'%d' | format('x')",
]
EXPRESSIONS = [
    "1 < 2 < 3", "3 > 2 > 2", "1 == 1.0", "true == 1", "'a' < 'b'", "[1, 2] < [1, 3]", "(1, 2) == [1, 2]", "{'a': 1} == {'a': 1.0}", "none == false", "missing == none", "missing == missing", "not missing", "missing is none", "missing or 'x'", "missing and 'x'", "'' or none", "[] or {} or 0", "1 and 2", "0 and 2", "not 1 == 2",
    "1 if missing else 2", "1 if 0.0", "missing ~ 'x'", "none ~ true ~ 1.0 ~ [1]", "1 ~ 2", "'a' ~ (1, 2)", "-2 ** 2", "2 ** -1", "2 ** 3 ** 2", "(-2) ** 2", "2 ** 0.5", "2 ** 100", "7 // 2", "-7 // 2", "7 // -2", "7.0 // 2", "7 / 2", "6 / 2", "1 / 3", "1e3", "1e16 + 1", "10 ** 16 / 1", "0.1 + 0.2", "1 / 0", "1 // 0", "1 % 0", "1.0 * 3", "2 - 3.0", "true + true", "-true", "+'a'", "-'a'", "- 1", "--1", "'ab' * 2", "2 * 'ab'", "'ab' * -1", "[1] * 2", "[1] + [2]", "(1,) + (2,)", "[1] + (2,)", "'a' + 1", "'a' + none", "1 + missing", "{'a': 1} + {'b': 2}", "[3] - [3]",
    "missing.a", "missing['a']", "missing()", "missing.a()", "missing | upper", "missing | length", "missing | list", "missing | join", "missing | string", "missing | int", "missing | default('d')", "none.a", "none['a']", "none | upper", "none | length", "none | list", "none | string", "none | default('d')", "none | default('d', true)", "none | int", "s[1].missing", "s[1].missing.more", "s[1]['missing']", "deep.zz", "deep.zz.y", "deep.a.b[1].c", "deep['items']", "deep.items", "deep.items()", "deep.keys()", "deep.get('keys')", "(1).real", "n[3].bit_length()", "n[7].is_integer()", "n[5].is_integer()", "c[1].0", "c[5].C", "c[5]['C']", "c[3].0.1",
    "range(5)", "range(5) | list", "range(1, 6, 2) | list", "range(3, 0, -1) | list", "range(0)", "range(3)[1]", "range(3) | length", "range(10)[2:5] | list", "2 in range(3)", "range('a')", "dict(a=1, b='x')", "dict({'a': 1}, b=2)", "dict([('a', 1)])", "namespace(a=1).a", "namespace({'a': 2}).a", "namespace(a=1).b", "lipsum(n=1)|length > 0", "cycler('a', 'b').next()", "joiner()()", "range", "dict", "debug()", "now()", "caller()", "self", "loop", "super()", "varargs", "kwargs", "zip([1], [2])", "len([1])", "str(1)", "int('1')", "enumerate([1])", "print(1)", "open('x')",
    "''.join(['a', 'b'])", "', '.join(c[5])", "'abc' in s[1]", "'a' in c[5]", "3 in c[1]", "'3' in c[1]", "1 in 'a'", "none in c[6]", "'x' in none", "'x' in missing", "'ß'.upper()", "'ǆ'.title()", "'İ'.lower()", "'ﬁ'.capitalize()", "'ΑΣ'.lower()", "'１２'.isdigit()", "'²'.isdigit()", "'²'.isdecimal()", "'½'.isnumeric()", "'٣' | int", "' 12 ' | int", "'1_000' | int", "'0x1f' | int(0, 16)", "'1f' | int(0, 16)", "'12.9' | int", "'1e3' | int", "'nan' | float", "'inf' | float", "'1e400' | float", "'abc' | float", "2.5 | int", "-2.5 | int", "true | int", "true | float", "'x' | int(default='n')", "[1] | int", "1e400 | int", "2.5 | round", "3.5 | round", "-2.5 | round", "2.675 | round(2)", "1234.5 | round(-2)", "7 | round", "7 | round(1)", "0.1 | string", "3.0 | int",
    "'a\\x0bb\\x0cc\\x1cd\\x85e\\u2028f'.splitlines()", "'a\\r\\nb\\rc'.splitlines()", "'a\\r\\nb\\rc'.splitlines(true)", "'a\\x1cb\\u00a0c'.split()", "'\\x1c a \\u00a0'.strip()", "'\\x1c a \\u00a0' | trim", "'\\u200ba\\u200b'.strip()", "'\\x1c'.isspace()", "'a\\x1fb' | wordcount",
    "people | map(attribute='name') | join(', ')", "people | groupby('age') | list", "people | sort(attribute='age') | map(attribute='name') | list", "people | sort(attribute='age,name') | map(attribute='name') | list", "people | sort(attribute='name', reverse=true) | map(attribute='age') | list", "people | sort(attribute='name', case_sensitive=true) | map(attribute='name') | list", "people | selectattr('age', 'eq', 3) | list | length", "people | selectattr('age', 'gt', 1) | map(attribute='name') | list", "people | selectattr('tags') | map(attribute='name') | list", "people | rejectattr('tags', 'none') | list | length", "people | sum(attribute='age')", "people | map(attribute='tags') | list", "people | map(attribute='zz') | list", "people | map(attribute='zz', default=0) | list", "people | map(attribute='tags.0') | list", "people | unique(attribute='name') | map(attribute='name') | list", "people | max(attribute='age')", "people | min(attribute='name')", "people | first", "people | last", "people | join(', ', attribute='name')", "people | groupby('age') | map(attribute='grouper') | list", "(people | groupby('age'))[0].list | length", "(people | groupby('name', case_sensitive=true)) | map('first') | list", "people | groupby('zz', default='q') | list | length", "people | map('attr', 'name') | list", "people | batch(3) | list | length", "people | slice(3) | map('length') | list", "people[1:] | map(attribute='name') | list", "people | tojson", "people[0].items() | list", "people[0] | items | list", "people[0] | dictsort", "people[0] | length", "people[0] | list", "people[0] | first", "people[0] | join(',')", "people[::-1][0].name", "people | selectattr('age', 'nothing') | list", "people | map('nothing') | list", "people | selectattr('name', 'in', ['Bo']) | list | length",
    "text | wordwrap(20)", "text | wordwrap(20, wrapstring='|')", "text | truncate(20)", "text | truncate(20, true)", "text | truncate(57)", "text | truncate(20, false, '...', 0)", "'a-b-c d' | wordwrap(3)", "'a-b-c d' | wordwrap(4, break_on_hyphens=false)", "'aaaaaaaaaa b' | wordwrap(4)", "'aaaaaaaaaa b' | wordwrap(4, false)", "'  lead\n\n  two' | wordwrap(5)", "{'a b': 'c&d', 'é': 1} | urlencode", "[('a', 1), ('b', '/ ?')] | urlencode", "'a/b c?d=é~' | urlencode", "5 | urlencode", "'<p>a <!-- x --> b</p>  &amp; &lt;&eacute;&#65;' | striptags", "'a<b' | striptags", "'<a' | forceescape", "'<a' | e", "'<a' | e | e", "'<a' | e | forceescape", "'<a' | safe", "('<a' | safe) ~ '<b'", "('<a' | e) + '<b'", "('<a' | e) | upper", "('<a' | e) is escaped", "'<a' is escaped", "('<a' | e) | length", "['<a' | e]", "('<' | e) | replace('&', '+')", "('<' | e).replace('&', '<')", "('%s' | safe) % '<'", "('<' | e) | tojson", "('<' | e) == '&lt;'", "['<' | safe, '<'] | join('&')", "('a' | safe) | join('<')",
    "{'a': 1}.a", "{'items': 1}.items", "{'items': 1}['items']", "{'get': 1}.get('get')", "[1, 2].0", "'abc'.0", "'abc'[1]", "'abc'['1']", "'日本'[1]", "'日本' | length", "'日本' | reverse", "'é' | list", "(1, 2)[0]", "(1, 2) | list", "(1, 2) | length", "[1, 2] | tojson", "(1, 2) | tojson", "{1: 2} | tojson", "{none: 2} | tojson", "{true: 2} | tojson", "1.0 | tojson", "1e16 | tojson", "1e-7 | tojson", "missing | tojson", "'é\\u2028\\x7f\\x01' | tojson", "'/<>&\\'' | tojson", "range(2) | tojson", "namespace(a=1) | tojson", "[{}] | tojson(indent=2)", "[] | tojson(indent=2)", "{'a': [], 'b': {}} | tojson(indent=4)", "{'b': 1, 'a': {'d': 1, 'c': 2}} | tojson(sort_keys=true)", "12345678901234567890 | tojson", "dict | string", "range(3) | string", "(1,)", "((1,),)", "{'a': (1,)}", "[none, true, 1.5, 'a']", "{'a': missing}", "[missing]", "['a\\\\b']", "[\"it's\"]", "['é\\x00\\x7f\\u200b\\xad']", "['\\U0001F600']", "1e15", "1e16", "123456789.123456789", "1e-4", "1e-5", "-0.0", "1e308 * 10", "0.1 + 0.7", "1e22", "1e21 | int", "100000000000000000000.0", "5e-324",
    "x is defined and x or 'n'", "(1, 2, 3) is sequence", "s[1] is sequence", "c[5] is sequence", "range(3) is sequence", "5 is sequence", "c[5] is iterable", "s[1] is iterable", "range is callable", "s[1].upper is callable", "'upper' is filter", "'odd' is test", "'nothing' is filter", "1 is sameas 1.0", "none is sameas none", "1 is sameas true", "'' is not defined", "1 is not sameas 2", "1 is number and true is number", "true is integer", "1.0 is integer", "true is boolean", "1 is boolean", "'AB' is upper", "'12' is upper", "3 is upper", "4 is divisibleby 2 and true", "'a' is in ['a']", "'a' is not in ['a']", "2 is in(range(3))", "[] is mapping", "namespace() is mapping", "3 is odd == true", "2 + 1 is odd", "1 is odd | string", "'a' is eq 'a'", "1 is eq(1)",
]
STATEMENTS = [
    "{% for a, (b, c) in [[1, [2, 3]], (4, (5, 6))] %}{{ a }}{{ b }}{{ c }};{% endfor %}", "{% for a,(b,c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for (a, (b, (c, d))) in [[1, [2, [3, 4]]]] %}{{ d }}{{ c }}{{ b }}{{ a }}{% endfor %}",
    "{% for (a,) in [[1], [2]] %}{{ a }};{% endfor %}", "{% for a, in [[1], [2]] %}{{ a }};{% endfor %}", "{% for (a) in [[1], [2]] %}{{ a }};{% endfor %}", "{% for a, (b,) in [[1, [2]]] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b, in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}", "{% for (a,) in [[1, 2]] %}{{ a }}{% endfor %}",
    "{% for a, (b, c) in [[1, [2]]] %}{{ a }}{% endfor %}", "{% for a, (b, c) in [[1, 2]] %}{{ a }}{% endfor %}", "{% for a, (b, c) in [[1, 'xy']] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, (b, c) in c[3] %}{{ a }}{% endfor %}", "{% for k, (b, c) in {'x': [1, 2]}.items() %}{{ k }}{{ b }}{{ c }}{% endfor %}", "{% for a, (b.x) in [[1, 2]] %}{{ a }}{% endfor %}",
    "{% for a, [b, c] in [[1, [2, 3]]] %}{{ a }}{% endfor %}", "{% for a, (b, c in [[1, [2, 3]]] %}{{ a }}{% endfor %}", "{% for a, b) in [[1, 2]] %}{{ a }}{% endfor %}", "{% for () in [[]] %}x{% endfor %}", "{% for a, (1) in [[1, 2]] %}{{ a }}{% endfor %}", "{% for i, (a, b) in [[1, [2, 3]]] if b > 2 %}{{ loop.index }}{{ a }}{% endfor %}",
    "{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}", "{% set (a, b), c = [1, 2], 3 %}{{ a }}{{ b }}{{ c }}", "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% set (a,) = [1] %}{{ a }}", "{% set a, = [1] %}{{ a }}", "{% set (a) = [1] %}{{ a }}", "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}", "{% set ns = namespace() %}{% set (ns.a, b) = 1, 2 %}{{ ns.a }}{{ b }}",
    "{% set ns = namespace() %}{% set b, ns.a = 1, 2 %}{{ ns.a }}{{ b }}", "{% set a, (b, c) = 1, 2 %}{{ a }}",
    "{{ 'x' | attr('upper')() }}", "{{ s[1] | attr('upper')() | length }}", "{{ s[1] | attr('replace')('a', 'X') }}", "{{ s[1] | upper | attr('lower')() }}", "{{ s[1] | attr('split')('b')[0] }}", "{{ c[5] | attr('get')('a') }}", "{{ c[5] | attr('items')() | list }}", "{{ c[5] | attr('a') }}", "{{ s[1] | attr('nothing')() }}", "{{ s[1] | attr('nothing') is defined }}",
    "{{ s[1] | upper() }}", "{{ s[1] | attr('upper') () ~ 'x' }}", "{{ (s[1] | attr('upper'))() }}", "{{ s[1] | upper()() }}", "{{ s[1] | attr('title')() is string }}", "{{ 'a' if s[1] | attr('isalpha')() else 'b' }}", "{{ -1 | abs() }}", "{{ s[1] | attr('encode')() }}", "{{ 1 is odd() }}", "{% set f = 'x' | attr('upper') %}{{ f() }}", "{{ c[1] | attr('append')(1) }}",
    "{{ s[1] | attr('__class__') }}", "{{ ['a', 'b'] | map('attr', 'upper') | first is callable }}", "{{ s[4].casefold() }}", "{{ 'ßẞıİIΣςσΐﬁﬀŉǰᾳᾼꭰᎠᏸᲀſKÅ'.casefold() }}", "{{ 'STRASSE'.casefold() == 'straße'.casefold() }}", "{{ 'x'.casefold('y') }}", "{{ 'ΑΣ'.casefold() }}|{{ 'ǆ'.casefold() }}|{{ 'և'.casefold() }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = i %}{% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "{% set x %}a{{ 1 }}b{% endset %}{{ x }}|{{ x | upper }}", "{% set x | upper %}ab{% endset %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1, 2] %}{{ a }}{{ b }}", "{% set (a, b) = (1, 2) %}{{ b }}", "{% set x = 1, 2 %}{{ x }}", "{% set a, b = 1, 2, 3 %}{{ a }}", "{% set d = {'a': 1} %}{% set d.b = 2 %}{{ d }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.b }}",
    "{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}|{% endfor %}", "{% for i in [1, 2, 3] %}{{ loop.previtem }}-{{ loop.nextitem }};{% endfor %}", "{% for i in [1, 2, 3] %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}", "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}", "{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [] %}a{% else %}b{% endfor %}", "{% for i in [1, 2, 3] if i != 2 %}{{ i }}{{ loop.index }}{{ loop.length }}{% endfor %}", "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "{% for k in {'a': 1} %}{{ k }}{% endfor %}", "{% for c in 'ab' %}{{ c }}.{% endfor %}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}", "{% for x in missing %}a{% else %}e{% endfor %}", "{% for x in none %}a{% endfor %}", "{% for x in 5 %}a{% endfor %}", "{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}e{% endfor %}", "{% for i in [1, [2, [3]]] recursive %}{% if i is iterable %}({{ loop(i) }}){% else %}{{ i }}{% endif %}{% endfor %}", "{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for i in [1, 2] %}{{ loop }}{% endfor %}", "{% for loop in [1] %}{{ loop }}{% endfor %}", "{% for i in [1, 2] %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{% endfor %}{% endfor %}", "{% for i in [3] %}{{ i }}{% endfor %}{{ i }}", "{% for i in [1, 2, 3] | reverse %}{{ i }}{{ loop.length }}{% endfor %}", "{% for g in people | groupby('age') %}{{ g.grouper }}:{{ g.list | length }} {% endfor %}", "{% for age, list in people | groupby('age') %}{{ age }}:{{ list | map(attribute='name') | join(',') }} {% endfor %}", "{% for row in [1, 2, 3, 4, 5] | batch(2, '-') %}{{ row }}{% endfor %}", "{% for row in [1, 2, 3, 4, 5] | slice(2) %}{{ row | join }};{% endfor %}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(b=5, a=4) }}|{{ f() }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}|{{ f() }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}", "{% macro f(a) %}{{ a }}{{ varargs | length }}{% endmacro %}{{ f(1, 2, 3) }}", "{% macro f() %}{{ kwargs.q }}{% for k, v in kwargs.items() %}{{ k }}{{ v }}{% endfor %}{% endmacro %}{{ f(q=1, r=2) }}", "{% macro f(x) %}[{{ x }}{{ caller() }}]{% endmacro %}{% call f(1) %}body{% endcall %}", "{% macro f() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}-{{ b }}{% endcall %}", "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}", "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.catch_varargs }}{{ f.caller }}", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}g{% endmacro %}{{ f() }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% set x = 5 %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}", "{% for x in [1] %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% endfor %}", "{% macro f(a=[]) %}{{ a }}{% endmacro %}{{ f() }}", "{{ f }}{% macro f() %}{% endmacro %}", "{% macro f() %} a {% endmacro %}{{ f() | trim }}|{{ f() ~ 'b' }}|{{ f() | length }}", "{% macro f(a, b) %}{{ b is defined }}{{ b }}{% endmacro %}{{ f(1) }}", "{{ f() }}", "{% macro f(a) %}{% set a = 2 %}{{ a }}{% endmacro %}{{ f(1) }}", "{% macro f(*args) %}{% endmacro %}", "{{ range(*[1, 4]) | list }}", "{{ dict(**{'a': 1}) }}", "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 1, 'b': 2}) }}",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% raw %}{{ x }}{% if %}{% endraw %}", "{%- raw -%} {{ x }} {%- endraw -%} a", "{# comment #}a{#- b -#} c", "{% do [1].append(2) %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}", "{% autoescape false %}{{ '<' }}{% endautoescape %}", "{% block a %}x{% endblock %}", "{% block a %}x{% endblock a %}", "{{ self.a() }}{% block a %}x{% endblock %}", "{% import 'x' as y %}", "{% include 'x' ignore missing %}a", "{% extends 'x' %}", "{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}", "{% if missing %}a{% endif %}b", "{% if missing.x %}a{% endif %}", "{% if [] %}a{% else %}b{% endif %}", "{% unknown %}", "{% generation %}a{% endgeneration %}", "{% trans %}a{% endtrans %}", "{% debug %}", "{% print 1 %}", "{% continue %}", "{% set true = 1 %}", "{% set loop = 1 %}{{ loop }}",
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "  {% if true %}x{% endif %}  \n  y", "a\n  {%- if true -%}\n  b  {%- endif %}\n\nc", "  {{ 1 }}\n  {{- 2 -}}\n  3", "{% if true +%}\na{% endif %}", "  {%+ if true %}a{% endif %}", "{# c #}\na", "  {# c #}\na", "a {# c #}\nb", "a\n", "a\n\n", "\n", "{{ 1 }}\n", "{% set x = 1 %}\n\na", "a\r\nb", "{% if true %}\r\na{% endif %}", "{{- ' a' -}} ", "a{%- set x = 1 -%}  b", "\t{% set x = 1 %}\tb", "{% raw %}\na{% endraw %}\nb", "{%- for i in [1, 2] -%}\n {{ i }}\n{%- endfor -%}\n", "{{\n1\n}}", "{{ 'a\nb' }}", "{{ '{{' }}{{ '%}' }}{{ '#}' }}", "{% if '%}' == '%}' %}a{% endif %}", "{{ {'a': {'b': 1}} }}", "{{ {'a':{'b':1}}}}", "{{}}", "{{ }}", "{ { 1 } }", "}} %} #}", "{{ 1", "{% if 1 %}", "{# open", "{{ 1 }} {% endif %}", "{{ 'open }}", "{{ 1 2 }}", "{{ a b }}", "{{ (1 }}", "{{ [1, }}", "{{ 1 + }}", "{{ x | }}", "{{ x is }}", "{{ x. }}", "{{ 'a'.upper }}", "{{ $ }}", "{{ a ? b }}", "{{ a; b }}", "{{ a = 1 }}", "{{ a := 1 }}", "{{ lambda: 1 }}", "{{ [x for x in y] }}", "{{ a && b }}", "{{ !a }}", "{{ a || b }}", "{{ 1 <> 2 }}", "{{ f'x' }}", "{{ `a` }}", "{{ a.b.c }}", "{{ 1.5.real }}", "{{ not 1 }}", "{{ 1 in [1] not in [2] }}", "{{ not 1 in [2] }}", "{{ 1 not in [2] }}", "{{ 'a' if 1 else 'b' if 0 else 'c' }}", "{{ ('a' if 0 else 'b') ~ 'c' }}", "{{ -1 | abs }}", "{{ (-1) | abs }}", "{{ 1 + 2 | string }}", "{{ 'a' ~ 1 + 2 }}", "{{ 1 + 2 ~ 'a' }}", "{{ 2 * 3 ~ 'a' }}", "{{ 1 == 1 and 2 == 2 or false }}", "{{ 'x' | upper ~ 'y' }}", "{{ not true or true }}", "{{ - 2 ** 2 }}", "{{ 2 ** 2 | string }}", "{{ [1, 2][0] | string ~ 'x' }}", "{{ 'a'.upper() | lower }}", "{{ 1 if true }}", "{{ 1, 2 }}", "{{ (1, 2), 3 }}", "{{ true.x }}", "{{ 1 .real }}", "{{ 'a' is string ~ 'b' }}", "{{ 1 is odd and 2 is even }}", "{{ 1 is not odd }}", "{{ not 1 is odd }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}", "{% set c = cycler('odd', 'even') %}{% for i in [1, 2, 3] %}{{ c.next() }}{% endfor %}", "{% set j = joiner(', ') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}", "{% set j = joiner() %}{{ j() }}a{{ j() }}b", "{{ cycler() }}", "{% set ns = namespace(a=1, **{'b': 2}) %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace(a=[1]) %}{% set ns.a = ns.a + [2] %}{{ ns.a }}{{ ns.a | length }}", "{% set ns = namespace(found=false) %}{% if not ns.found %}{% set ns.found = true %}{% endif %}{{ ns.found }}", "{% set ns = namespace(a=1) %}{{ ns['a'] }}{{ ns.zz is defined }}", "{% set l = [1] %}{% set l = l + [2] %}{{ l }}{{ l[-1] }}", "{% set x = 'a' %}{% set x = x ~ 'b' %}{{ x }}", "{% set l = [] %}{{ l.append(1) }}{{ l }}", "{% set d = {} %}{{ d.update({'a': 1}) }}{{ d }}", "{% set d = dict(a=1, **{'b': 2}) %}{{ d }}", "{% set _ = 1 %}{{ _ }}", "{{ strftime_now is defined }}", "{{ raise_exception is defined }}", "{{ raise_exception('x') }}",
    "{{ messages }}", "{{ messages[0] }}", "{{ messages | tojson }}", "{{ messages[0] | items | list }}", "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "{{ messages[0].keys() | list }}", "{{ messages | length }}", "{{ messages[0].reasoning_content is defined }}", "{{ messages[0]['content'] | length }}", "{{ messages[0].content is string }}", "{{ messages[0].content is mapping }}", "{{ messages[0].content is iterable }}", "{{ messages[0].content is sequence }}", "{{ messages is sequence }}", "{{ messages[0] is mapping }}", "{{ messages[0] == {'role': 'user', 'content': 'hi'} }}", "{{ messages[1:] }}", "{{ messages[:-1] | length }}", "{{ messages[-1].role }}", "{{ messages[5] is defined }}", "{{ 'role' in messages[0] }}", "{{ 'tool_calls' in messages[0] }}", "{{ messages[0].get('tool_calls') }}", "{{ messages[0].tool_calls }}", "{{ messages | map(attribute='role') | list }}", "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "{{ messages | last }}", "{{ messages | string }}", "{{ tools }}", "{{ documents }}", "{{ tools is none }}", "{{ documents is defined }}", "{{ bos_token }}", "{{ add_generation_prompt }}", "{{ nothing is defined }}", "{{ chat_template is defined }}", "{{ builtin_tools is defined }}",
]


HEAD = "<|im_start|>{{ m.role }}\n"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LOOKING = {
    "a word switches thinking off": "{% for m in messages %}" + HEAD + "{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT + "{% if add_generation_prompt and '/no_think' in messages[-1].content %}<think>\n\n</think>\n\n{% endif %}",
    "a system text switches thinking on": "{% set ns = namespace(on=false) %}{% for m in messages %}{% if 'detailed thinking on' in m.content %}{% set ns.on = true %}{% endif %}" + HEAD + "{{ m.content | trim }}<|im_end|>\n{% endfor %}" + PROMPT + "{% if add_generation_prompt and ns.on %}<think>\n{% endif %}",
    "compares": "{% for m in messages %}" + HEAD + "{% if m.content == 'ping' %}PING!{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}" + PROMPT,
    "marks what it compares": "{% for m in messages %}" + HEAD + "{{ m.content }}{% if m.content == 'ping' %} (short){% endif %}<|im_end|>\n{% endfor %}" + PROMPT,
    "counts letters": "{% for m in messages %}<|im_start|>{{ m.role }}[{{ m.content | length }}]\n{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
    "counts words": "{% for m in messages %}<|im_start|>{{ m.role }}[{{ m.content.split() | length }}]\n{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
    "short and long": "{% for m in messages %}" + HEAD + "{% if m.content | length > 12 %}LONG {% endif %}{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
    "slices": "{% for m in messages %}" + HEAD + "{{ m.content[:3] }}|{{ m.content[3:] }}<|im_end|>\n{% endfor %}" + PROMPT,
    "splits and joins": "{% for m in messages %}" + HEAD + "{{ m.content.split(' ') | join('_') }}<|im_end|>\n{% endfor %}" + PROMPT,
    "large first letter": "{% for m in messages %}" + HEAD + "{{ m.content[:1] | upper }}{{ m.content[1:] }}<|im_end|>\n{% endfor %}" + PROMPT,
    "says it twice": "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content[:10] }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
    "leaves out repeats": "{% for m in messages %}{% if loop.first or m.content != loop.previtem.content %}" + HEAD + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + PROMPT,
    "ends with a question mark": "{% for m in messages %}" + HEAD + "{{ m.content }}{{ '' if m.content.endswith('?') else '.' }}<|im_end|>\n{% endfor %}" + PROMPT,
}
SAID = [
    ["/no_think"], ["What is 2+2? /no_think"], ["/no_think What is 2+2?"], ["detailed thinking on", "hi"], ["be detailed thinking on or off", "hi", "ok", "detailed"], ["ping"], ["ping", "ping", "ping"], ["user", "assistant", "user"],
    ["a", "aa", "aaa"], ["hi", "ping", "hi"], ["<|im_end|>", "x"], ["a <|im_end|>\n<|im_start|>system\nb", "ok", "<|im_start|>"], ["  spaced\n", "\n", "日本語の長い長いテキスト"], ["LONG ", "PING!", "."], ["<|im_end|> /no_think"], ["ping <|im_end|>"], ["<|im_start|>user\nping<|im_end|>\n", "ping", "x"],
]


def looking():
    for name, template in LOOKING.items():
        for said in SAID:
            roles = ["system"] if said[0].startswith(("detailed", "be ")) else []
            roles += ["user", "assistant"] * len(said)
            messages = [{"role": role, "content": content} for role, content in zip(roles, said)]
            for prompt in [True, False]:
                text, _ = render_jinja_template(conversations=[messages], chat_template=template, add_generation_prompt=prompt, bos_token="<|bos|>", eos_token="<|im_end|>")
                yield {"template": name, "conversation": " / ".join(said), "messages": messages, "prompt": prompt, "text": text[0]}


def grid():
    for value in ALL:
        yield f"{{{{ {value} }}}}"
        yield f"{{{{ [{value}] }}}}"
        yield f"{{{{ {value} ~ '' }}}}"
    for method, forms in METHODS.items():
        for form in forms:
            for value in STRINGS + ["n[3]", "c[2]", "c[5]", "missing"]:
                yield f"{{{{ {value}.{method}{form} }}}}"
    for method, forms in CONTAINER_METHODS.items():
        for form in forms:
            for value in CONTAINERS + ["s[1]", "(1, 'a')", "range(2)"]:
                yield f"{{{{ {value}.{method}{form} }}}}"
    for name, forms in FILTERS.items():
        for form in forms:
            for value in ALL if form in ["", "|list"] else FEW + ["s[2]", "s[6]", "s[9]", "n[4]", "n[12]", "c[3]", "c[6]", "people"]:
                yield f"{{{{ {value} | {name}{form} }}}}"
    for test in TESTS:
        for value in ALL:
            yield f"{{{{ {value} is {test} }}}}"
    for operator in OPERATORS:
        for left in OPERANDS:
            for right in OPERANDS:
                yield f"{{{{ {left} {operator} {right} }}}}"
    for piece in SLICES:
        for value in ["s[1]", "s[10]", "c[1]", "c[2]", "c[3]", "c[5]", "(1, 'a')", "range(4)", "n[3]", "o[0]", "missing", "people"]:
            yield f"{{{{ {value}{piece} }}}}"


def templates():
    # Every third of the combinations keeps the fixture small; all of them were compared once.
    yield from list(grid())[::3]
    for literal in LITERALS + FORMATS + EXPRESSIONS:
        yield f"{{{{ {literal} }}}}"
    yield from STATEMENTS


def render(template):
    try:
        return render_jinja_template(conversations=[[{"role": "user", "content": "hi"}]], chat_template=template, bos_token="<s>", eos_token="</s>", **json.loads(json.dumps(VARIABLES)))[0][0]
    except Exception:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    cases = {template: render(template) for template in dict.fromkeys(templates())}
    # What prints the address of an object is nothing to compare with.
    cases = {template: text for template, text in cases.items() if not (text and " at 0x" in text)}
    fixtures = {"jinja": {"variables": VARIABLES, "cases": cases}, "looking": {"templates": LOOKING, "cases": list(looking())}}
    for name, value in fixtures.items():
        (arguments.output / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
