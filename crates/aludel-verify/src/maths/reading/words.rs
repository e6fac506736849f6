//! The vocabulary of the lexer: which words and LaTeX commands are signs, functions, Greek letters, layout or text.

/// Words that stand for something which has a sign.
pub(super) const WORD_SIGNS: [(&str, char); 6] =
    [("percent", '%'), ("pct", '%'), ("or", '∨'), ("and", '∧'), ("degrees", '°'), ("degree", '°')];

/// Functions and constants that are written without a backslash in plain text, and with one in LaTeX.
pub(super) const FUNCTIONS: [&str; 24] = [
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log",
    "ln", "lg", "exp", "pi", "infty", "frac", "binom", "asin", "acos", "atan",
];

pub(in crate::maths) const GREEK: [&str; 28] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "ell",
    "Delta",
    "Omega",
];

/// Commands that stand for one sign. Logical operators are other signs than the words of a list.
pub(super) const COMMAND_SIGNS: [(&str, char); 41] = [
    ("cdot", '*'),
    ("times", '*'),
    ("ast", '*'),
    ("div", '/'),
    ("pm", '±'),
    ("mp", '∓'),
    ("le", '≤'),
    ("leq", '≤'),
    ("leqslant", '≤'),
    ("ge", '≥'),
    ("geq", '≥'),
    ("geqslant", '≥'),
    ("lt", '<'),
    ("gt", '>'),
    ("ne", '≠'),
    ("neq", '≠'),
    ("approx", '≈'),
    ("approxeq", '≈'),
    ("simeq", '≈'),
    ("sim", '∼'),
    ("in", '∈'),
    ("notin", '∉'),
    ("cup", '∪'),
    ("bigcup", '∪'),
    ("cap", '∩'),
    ("bigcap", '∩'),
    ("setminus", '∖'),
    ("smallsetminus", '∖'),
    ("backslash", '∖'),
    ("colon", ':'),
    ("lor", '⋁'),
    ("vee", '⋁'),
    ("land", '⋀'),
    ("wedge", '⋀'),
    ("emptyset", '∅'),
    ("varnothing", '∅'),
    ("mid", '|'),
    ("vert", '|'),
    ("lvert", '|'),
    ("rvert", '|'),
    ("degree", '°'),
];

/// Commands without meaning, for layout only.
pub(super) const LAYOUT: [&str; 32] = [
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "displaystyle",
    "textstyle",
    "limits",
    "quad",
    "qquad",
    "boxed",
    "fbox",
    "mathbf",
    "boldsymbol",
    "mathit",
    "bf",
    "rm",
    "it",
    "thinspace",
    "nobreak",
    "hfill",
    "phantom",
    "hspace",
    "space",
    "strut",
];

/// Commands whose argument is text.
pub(super) const TEXT: [&str; 11] =
    ["text", "textbf", "textit", "textrm", "textsf", "texttt", "mbox", "hbox", "mathrm", "mathsf", "operatorname"];

/// The name of a Greek letter that is written as itself. π has a command of its own.
pub(super) fn greek_letter(letter: char) -> Option<&'static str> {
    Some(match letter {
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'ε' | 'ϵ' => "epsilon",
        'ζ' => "zeta",
        'η' => "eta",
        'θ' => "theta",
        'κ' => "kappa",
        'λ' => "lambda",
        'μ' | 'µ' => "mu",
        'ν' => "nu",
        'ξ' => "xi",
        'ρ' => "rho",
        'σ' => "sigma",
        'τ' => "tau",
        'φ' | 'ϕ' => "phi",
        'χ' => "chi",
        'ψ' => "psi",
        'ω' => "omega",
        'Δ' => "Delta",
        'Ω' | '\u{2126}' => "Omega",
        'π' => "pi",
        _ => return None,
    })
}

/// The letter of a set of numbers that is written as itself.
pub(super) fn number_set(letter: char) -> Option<char> {
    "ℝℤℚℕℂ".chars().zip("RZQNC".chars()).find(|(own, _)| *own == letter).map(|(_, name)| name)
}
