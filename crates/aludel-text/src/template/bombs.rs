//! Hostile templates that try to end or hang the process, each run in a process of its own. The bounds asserted here
//! are wide, for unoptimised builds on busy machines; measurements are in
//! docs/decisions/0039-bound-templates-in-process.md.

use std::time::Duration;

use serde_json::{Map, json};

use super::{ChatTemplate, TemplateContext, TemplateMessage};
use crate::subprocess;

const LONGEST: Duration = Duration::from_secs(2);
const MOST_KILOBYTES: u64 = 64 << 10;
const RANDOM_BOMBS: u64 = 400;

/// A loop around a namespace with a text, a list and a mapping.
fn looped(count: usize, body: &str) -> String {
    format!(
        "{{% set ns = namespace(s='ab ', l=['x', 'yy'], d={{'k': 'v'}}, n=0) %}}{{% for i in range({count}) %}}{body}{{% endfor %}}{{{{ ns.s | length }}}}{{{{ ns.l | length }}}}"
    )
}

/// `part` repeated between `before` and `after`.
fn many(before: &str, part: &str, count: usize, after: &str) -> String {
    format!("{before}{}{after}", part.repeat(count))
}

fn bombs() -> Vec<String> {
    let mut bombs = vec![
        // Parser: nesting and chains of every kind.
        many("{{ ", "-", 20_000, "1 }}"),
        many("{{ ", "+", 20_000, "1 }}"),
        many("{{ ", "- ", 900, "1 }}"),
        many("{{ ", "not ", 20_000, "1 }}"),
        many("{{ ", "1+", 40_000, "1 }}"),
        many("{{ ", "1+", 1_990, "1 }}"),
        many("{{ ", "2**", 30_000, "1 }}"),
        many("{{ ", "1~", 40_000, "1 }}"),
        many("{{ ", "1==", 30_000, "1 }}"),
        many("{{ ", "1 and ", 20_000, "1 }}"),
        many("{{ ", "1 or ", 900, "1 }}"),
        many("{{ x", ".a", 50_000, " }}"),
        many("{{ messages", ".a", 990, " }}"),
        many("{{ x", "[0]", 40_000, " }}"),
        many("{{ x", "[-1]", 900, " }}"),
        many("{{ x", "()", 40_000, " }}"),
        many("{{ x", "|e", 50_000, " }}"),
        many("{{ 'x'", "|list", 990, " }}"),
        many("{{ 'x'", "|batch(1)", 900, "|list }}"),
        many("{{ x", " is defined", 10_000, " }}"),
        many("{{ x", " if 1", 20_000, " }}"),
        many("{{ ", "1 if 0 else ", 9_000, "1 }}"),
        many("{{ ", "(", 60_000, &")".repeat(60_000)),
        many("{{ ", "[", 60_000, &format!("{} }}}}", "]".repeat(60_000))),
        many("{{ ", "{1:", 30_000, &format!("1{} }}}}", "}".repeat(30_000))),
        many("{{ ", "[", 30_000, &format!("{}|pprint }}}}", "]".repeat(30_000))),
        many("{{ ", "f(", 40_000, &")".repeat(40_000)),
        many("{{ x", "[x", 30_000, &"]".repeat(30_000)),
        many("{% if 0 %}", "{% elif 1 %}", 10_000, "{% endif %}"),
        many("{% if 0 %}", "{% elif 0 %}", 98, "{% endif %}"),
        many("", "{% if 1 %}", 12_000, &"{% endif %}".repeat(12_000)),
        many("", "{% if 1 %}", 99, &"{% endif %}".repeat(99)),
        many("", "{% for a in 'x' %}", 7_000, ""),
        many("", "{% for a in 'xy' %}", 60, &"{% endfor %}".repeat(60)),
        many("", "{% with a = 1 %}", 8_000, ""),
        many("", "{% macro m() %}", 8_000, ""),
        many("", "{% macro m(a=x) %}", 6_000, &"{% endmacro %}".repeat(6_000)),
        many("", "{% filter upper %}", 6_000, &"{% endfilter %}".repeat(6_000)),
        many("", "{% set a %}", 8_000, &"{% endset %}".repeat(8_000)),
        many("{% for ", "(a, ", 30_000, &format!("b{} in x %}}{{% endfor %}}", ")".repeat(30_000))),
        many("{% for ", "(a, ", 50, &format!("b{} in x %}}{{% endfor %}}", ")".repeat(50))),
        many("{{ 'x'", "|attr('upper')()", 40_000, " }}"),
        many("{{ 'x'", "|attr('upper')()", 490, " }}"),
        many("{% set s = 'ŉ' * 1000 %}", "{% set s = s.casefold() ~ s %}", 300, "{{ s|length }}"),
        many("{% with ", "a=1,", 30_000, "b=1 %}{% endwith %}"),
        many("{% macro m(", "a,", 50_000, "b) %}{% endmacro %}"),
        many("{% macro m(", "a=b,", 30_000, "b=a) %}{% endmacro %}"),
        many("{% set ", "a,", 60_000, "b = 1 %}"),
        many("{{ f(", "a=1,", 30_000, ") }}"),
        many("{% set a = [] %}", "{% set a = [a] %}", 7_000, "{{ a }}"),
        many("{% set a = namespace() %}", "{% set a = namespace(a=a) %}", 4_000, "{{ a }}"),
        many("{{ '", "{{", 60_000, "' }}"),
        many("", "{#", 60_000, ""),
        many("", "{% raw %}", 14_000, ""),
        many("{{ ", "9", 100_000, " }}"),
        many("{{ '", "\\n", 60_000, "' * 100000 }}"),
        "{".repeat(131_072),
        "{% ".repeat(40_000),
        // Values that contain themselves, nest or share.
        "{% set ns=namespace() %}{% set ns.a=ns %}{{ ns }}".to_owned(),
        "{% set ns=namespace() %}{% set ns.a=[ns] %}{{ ns.a }}".to_owned(),
        "{% set ns=namespace() %}{% set ns.a | default(ns, true) %}{% endset %}{{ ns.a }}".to_owned(),
        "{% set ns=namespace() %}{% set ns.a=cycler(ns) %}{{ ns.a.items }}".to_owned(),
        "{% set ns=namespace() %}{% set m=namespace(b=ns) %}{% set ns.a=m %}{{ ns == m }}".to_owned(),
        looped(40_000, "{% set ns.s=[ns.s] %}"),
        looped(30_000, "{% set ns.s=[ns.s] %}") + "{{ ns.s | pprint }}",
        looped(40_000, "{% set ns.s=(ns.s,) %}"),
        looped(40_000, "{% set ns.s={'a': ns.s} %}"),
        looped(40_000, "{% set ns.s=dict(a=ns.s) %}"),
        looped(40_000, "{% set ns.s=[ns.s].count %}"),
        looped(40_000, "{% set ns.s=cycler(ns.s) %}"),
        looped(40_000, "{% set ns.s=joiner(ns.s) %}"),
        looped(40_000, "{% set ns.s=ns.l|batch(2) %}{% set ns.l=ns.s|list %}"),
        looped(40_000, "{% set ns.l=ns.l|slice(1)|list %}"),
        looped(40_000, "{% set ns.d={'a': ns.d}.items()|list %}"),
        looped(40_000, "{% set ns.d={'a': ns.d}|dictsort %}"),
        looped(40_000, "{% set ns.l=[[1, ns.l]]|groupby(0) %}"),
        "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m(1) }}".to_owned(),
        "{% macro m() %}{{ m(varargs) }}{{ varargs | length }}{% endmacro %}{{ m(1) }}".to_owned(),
        "{% macro m() %}{{ caller() }}{{ m() }}{% endmacro %}{% call m() %}x{% endcall %}".to_owned(),
        "{% for a in [1] recursive %}{{ loop([[a], [a]]) }}{% endfor %}".to_owned(),
    ];
    for shared in ["[ns.s, ns.s]", "(ns.s, ns.s)", "{'a': ns.s, 'b': ns.s}"] {
        for end in [
            "{{ ns.s }}",
            "{{ ns.s == [ns.s, ns.s] }}",
            "{{ ns.s | tojson }}",
            "{{ ns.s in [1, ns.s] }}",
            "{{ {ns.s: 1} }}",
            "{{ [ns.s, ns.s] | unique | list | length }}",
            "{{ [ns.s, ns.s] | sort | length }}",
            "{{ '%s' % [ns.s] }}",
            "{{ '{}'.format(ns.s) }}",
            "{{ [[1, ns.s]] | groupby(1) | length }}",
            "{% for i in [1, 2] %}{{ loop.changed([ns.s]) }}{% endfor %}",
        ] {
            bombs.push(looped(60, &format!("{{% set ns.s={shared} %}}")) + end);
        }
    }
    // Texts and lists that double, and operators, filters and methods that make much of little.
    for body in [
        "{% set ns.s=ns.s+ns.s %}",
        "{% set ns.s=ns.s~ns.s %}",
        "{% set ns.s=ns.s*1000 %}",
        "{% set ns.l=ns.l+ns.l %}",
        "{% set ns.l=ns.l*1000 %}",
        "{% set ns.s=ns.s|replace('', ns.s) %}",
        "{% set ns.s=ns.s.replace(' ', ns.s) %}",
        "{% set ns.s=ns.s.join(ns.s) %}",
        "{% set ns.s=ns.s|join(ns.s) %}",
        "{% set ns.s=ns.s.center(900000) ~ ns.s %}",
        "{% set ns.s=ns.s.ljust(1000000).upper().title().swapcase() %}",
        "{% set ns.s=ns.s|indent(1000000) %}",
        "{% set ns.s=('\n'*900)|indent(ns.s*90, true, true) %}",
        "{% set ns.s=('\t'*900).expandtabs(1000000) %}",
        "{% set ns.s='%65000d%65000d%65000d' % (1, 2, 3) %}",
        "{% set ns.s='%.65000f' % 1.5 %}",
        "{% set ns.s='{:65000}{:65000.600f}'.format(1, 1.5) %}",
        "{% set ns.s='%s%s%s' % (ns.s, ns.s, ns.s) %}",
        "{% set ns.s='{0}{0}{0}{0}'.format(ns.s) %}",
        "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}",
        "{% set ns.s=ns.s|urlencode|urlencode %}",
        "{% set ns.s=ns.s|forceescape|forceescape|string %}",
        "{% set ns.s=([ns.s]*800)|tojson %}",
        "{% set ns.s=messages|tojson(indent=4611686018427387904) %}",
        "{% set ns.s=messages|tojson(indent=1000000) %}",
        "{% set ns.s=messages|tojson(indent=ns.s*20000) %}",
        "{% set ns.s=[1, 2, 3]|tojson(separators=(ns.s*30000, ns.s)) %}",
        "{% set ns.s=(ns.s*30000)|wordwrap(1, true) %}",
        "{% set ns.s=('x'*900000)|wordwrap(1) %}",
        "{% set ns.s=(ns.s*9000).split(' ')|join %}",
        "{% set ns.l=range(100000)|list %}",
        "{% set ns.l=range(100000)|sort|unique|list %}",
        "{% set ns.l=range(100000)|map('string')|list %}",
        "{% set ns.l=range(100000)|select('in', ns.l)|list %}",
        "{% set ns.l=range(100000)|selectattr('a'*100000)|list %}",
        "{% set ns.l=range(100000)|batch(100000, ns.l)|list %}",
        "{% set ns.l=[1]|batch(1000000, 2)|list %}",
        "{% set ns.l=[1]|slice(60000, 2)|list %}",
        "{% set ns.l=range(100000)|groupby('x')|list %}",
        "{% set ns.n=range(100000)|sum + ns.n %}",
        "{% set ns.n=range(100000)|max %}",
        "{% set ns.n=99999 in range(100000) %}",
        "{% set ns.n=range(100000)|list == range(100000)|list %}",
        "{% set ns.d=dict.fromkeys %}",
        "{% set ns.d=dict(range(300)|map('string')|batch(2)|list) %}",
        "{% set ns.n=ns.d[ns.s*100000] %}",
        "{% set ns.n=ns.d.get(ns.s*100000) %}",
        "{% set ns.n={ns.s*100000: 1} %}",
        "{% set ns.n=(ns.s*10000).strip(ns.s*10000) %}",
        "{% set ns.n=(ns.s*10000)|trim(ns.s*10000) %}",
        "{% set ns.n=(ns.s*100000).startswith((ns.s*3, ns.s*4)) %}",
        "{% set ns.n=(ns.s*100000)[::-1] %}",
        "{% set ns.n=(ns.s*100000)|list|reverse|list %}",
        "{% set ns.n=(ns.s*100000)|striptags %}",
        "{% set ns.n=('9'*100000)|int + ('9'*100000)|float %}",
        "{% set ns.n=9**99999999 %}",
        "{% set ns.n=cycler(*range(100000)).items %}",
        "{% set ns.n=loop.cycle(*range(100000)) %}",
        "{% set ns.n=(ns.s*90000) is sameas (ns.s*90000) %}",
        "{% if i == 0 %}{% set ns.t=ns.s*300000 %}{% set ns.u=ns.s*300000 %}{% endif %}{{ ns.t is sameas ns.u }}{{ ns.t is eq ns.u }}",
        "{% if i == 0 %}{% set ns.t='x'*900000 %}{% endif %}{{ ns.t is lower }}{{ ns.t.isalpha() }}{{ ns.t < ns.t }}{{ 'y' in ns.t }}",
        "{% if i == 0 %}{% set ns.t=ns.s*300000 %}{% endif %}{{ ns.t|first }}{{ ns.t|last }}{{ ns.t|length }}{{ ns.t[5:9] }}{{ ns.t[7] }}",
        "{% if i == 0 %}{% set ns.t=range(99999)|list %}{% endif %}{{ ns.t|last }}{{ ns.t|first }}{{ ns.t[-1] }}{{ ns.t is defined }}{% if ns.t %}{% endif %}",
        "{% if i == 0 %}{% set ns.t=range(99999) %}{% endif %}{{ ns.t|last }}{{ ns.t|length }}{{ ns.t[99998] }}{{ ns.t is iterable }}",
        "{% if i == 0 %}{% set ns.t=dict.fromkeys %}{% endif %}{{ dict(**{'a': ns.d}) }}{{ namespace(**ns.d).k }}",
        "{% set ns.n=loop.cycle() %}",
        "{% set ns.n='a'|map('map', 'map', 'map', 'map', 'upper')|list %}",
        "{% macro m() %}{{ ns }}{% endmacro %}{% set ns.n=m %}",
        "{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}",
        "{% for j in range(100000) %}a line of text that is written over and over again\n{% endfor %}",
        "{{ range(100000)|list }}",
        "{{ raise_exception(ns.s * 9000000) }}",
    ] {
        bombs.push(looped(60, body));
        bombs.push(looped(99_999, body));
    }
    bombs.push(many(
        "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = ns.l + [i] %}{% endfor %}",
        "x",
        9,
        "",
    ));
    bombs.push(format!("{{% for i in range(99999) %}}{}{{% endfor %}}", "x".repeat(100_000)));
    bombs.push(format!("{{% macro m() %}}{}{{% endmacro %}}{}", "x".repeat(60_000), "{{ m() }}".repeat(6_000)));
    let calls = "{% for i in range(99999) %}{{ (1 + 2)|string ~ x }}{% endfor %}";
    for (open, close) in [("{% with b=1, c=2, d=3 %}", "{% endwith %}"), ("{% for c in 'x' %}", "{% endfor %}")] {
        bombs.push(format!("{}{calls}{}", open.repeat(98), close.repeat(98)));
    }
    let names: String = (0..4_000).map(|number| format!("{{% set name{number} = {number} %}}")).collect();
    bombs.push(format!("{names}{calls}"));
    bombs.push(looped(99_999, "{% macro m(a, b=i) %}{{ a }}{{ ns }}{{ x }}{% endmacro %}{{ m(1, 2) }}"));
    bombs.push(looped(99_999, "{{ ns.d | attr(ns.s * 90000) }}"));
    bombs.push("{% for i in range(-9000000000000000000, 9000000000000000000) %}{% endfor %}".to_owned());
    bombs.push("{{ 'a' | map('map', ".to_owned() + &"'map', ".repeat(1_900) + "'upper') | list }}");
    bombs
}

/// Expressions of texts (`$t`) and lists (`$l`) made of others, most of which make more of what they get.
const TEXTS: [&str; 28] = [
    "ns.s",
    "ns.s",
    "'a b'",
    "$t + $t",
    "$t ~ $l",
    "$t * 99",
    "$t * 99999",
    "$l|join($t)",
    "$l|string",
    "$l|tojson",
    "$l|tojson(indent=9)",
    "$t.join($l|map('string'))",
    "$t|replace('a', $t)",
    "$t|indent(999)",
    "$t|indent($t)",
    "$t[::-1]",
    "$t[1:]",
    "'%s %s' % ($t, $l)",
    "'{} {}'.format($t, $t)",
    "$t|wordwrap(3)",
    "$t|center(9999)",
    "$t.title().upper()",
    "$t|urlencode",
    "$t|e|string",
    "$t.ljust(9999)",
    "$l|first|string",
    "($t if $t in $t else $t)",
    "$t.replace(' ', $t)",
];
const LISTS: [&str; 20] = [
    "ns.l",
    "ns.l",
    "messages|list",
    "$l + $l",
    "$l * 9",
    "$l * 9999",
    "[$l, $l]",
    "[$t, $l]",
    "[($l, $t)]",
    "[{'a': $l, 'b': $t}]",
    "$t|list",
    "$t.split(' ')",
    "$l|batch(2)|list",
    "$l|slice(3)|list",
    "$l|reverse|list",
    "$l|map('string')|list",
    "$l|select|list",
    "{'a': $l}.items()|list",
    "[[1, $l]]|groupby(0)|list",
    "$l|reject('in', $l)|list",
];

/// A loop that builds texts and lists from each other by random operations.
fn random_bomb(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut body = String::new();
    for (target, start) in [("ns.s", "$t"), ("ns.l", "$l")] {
        let mut expression = start.to_owned();
        for _ in 0..2 + next(6) {
            let Some(at) = expression.find('$') else { break };
            let pieces: &[&str] = if expression[at..].starts_with("$t") { &TEXTS } else { &LISTS };
            expression.replace_range(at..at + 2, &format!("({})", pieces[next(pieces.len())]));
        }
        body.push_str(&format!("{{% set {target} = {} %}}", expression.replace("$t", "ns.s").replace("$l", "ns.l")));
    }
    looped([9, 60, 99_999][next(3)], &body) + "{{ ns.l }}"
}

/// The outcome in words.
fn rendered(source: &str) -> String {
    let outcome = ChatTemplate::new(source, Some("<s>"), None).and_then(|template| {
        let message = TemplateMessage::new("user", "hi".to_owned(), None);
        let variables = Map::from_iter([("x".to_owned(), json!({"a": "text"}))]);
        template.render(&[message], TemplateContext { variables: Some(&variables), ..TemplateContext::default() })
    });
    match outcome {
        Ok(text) => format!("ended with {} bytes", text.len()),
        Err(error) => error.to_string(),
    }
}

#[test]
#[ignore = "the process that each bomb is given; started by the others"]
fn one_bomb() {
    // What is built once for all is no bomb's doing.
    rendered("{{ 1 + 1 }}");
    subprocess::answer(|source| rendered(str::from_utf8(source).unwrap()));
}

/// What is wrong with how a bomb ended.
fn fault(source: &str) -> Option<String> {
    let outcome = subprocess::run("template::bombs::one_bomb", &[source.as_bytes().to_vec()]).remove(0);
    let shown: String = source.chars().take(160).collect();
    let line = format!("{}: {shown:?}", outcome.line());
    if std::env::var_os("ALUDEL_TEST_SHOW").is_some() {
        println!("{line}");
    }
    let is_named = outcome.words.starts_with("ended") || outcome.words.starts_with("the chat template");
    let is_small = outcome.time <= LONGEST && outcome.kilobytes <= MOST_KILOBYTES;
    (outcome.is_fault || !is_named || !is_small || outcome.words.contains("fails inside")).then_some(line)
}

#[test]
fn every_bomb_ends_soon_and_small_or_is_refused() {
    let all = bombs();
    assert!(all.len() >= 200, "{}", all.len());
    let faults: Vec<String> = all.iter().filter_map(|source| fault(source)).collect();
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), all.len());
}

#[test]
fn bombs_at_random_end_soon_and_small() {
    let faults: Vec<String> = (0..RANDOM_BOMBS).filter_map(|seed| fault(&random_bomb(seed))).collect();
    assert!(faults.is_empty(), "{}: {faults:#?}", faults.len());
}
