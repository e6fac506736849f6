//! Scalar expressions as trees. `parser` reads them and bounds their depth and size, so that recursion over a tree is safe.

use super::number::Number;

/// A scalar expression. Differences are sums with −1 times a term, quotients products with a power of −1.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::maths) enum Expression {
    Number(Number),
    Symbol(String),
    Pi,
    Euler,
    Imaginary,
    Infinity,
    Sum(Vec<Expression>),
    Product(Vec<Expression>),
    Power(Box<(Expression, Expression)>),
    Call(Function, Box<Expression>),
    /// √[n]{x}, real for negative x where n is odd.
    Root(usize, Box<Expression>),
    /// The logarithm of the second to the base of the first.
    Logarithm(Box<(Expression, Expression)>),
    Binomial(Box<(Expression, Expression)>),
}

/// Functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::maths) enum Function {
    Sin,
    Cos,
    Tan,
    Arcsin,
    Arccos,
    Arctan,
    Sinh,
    Cosh,
    Tanh,
    Exp,
    Ln,
    Abs,
    Floor,
    Ceiling,
    Factorial,
}

impl Expression {
    pub(in crate::maths) fn integer(value: i64) -> Expression {
        Expression::Number(Number::integer(value))
    }

    pub(in crate::maths) fn negated(self) -> Expression {
        match self {
            Expression::Number(number) => Expression::Number(Number { value: -number.value, ..number }),
            other => Expression::Product(vec![Expression::integer(-1), other]),
        }
    }

    pub(in crate::maths) fn inverted(self) -> Expression {
        Expression::Power(Box::new((self, Expression::integer(-1))))
    }

    /// The names of its symbols, each once.
    pub(in crate::maths) fn symbols<'a>(&'a self, names: &mut Vec<&'a str>) {
        if let Expression::Symbol(name) = self
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
        self.for_each_part(|part| part.symbols(names));
    }

    /// The same with other names for its symbols.
    pub(in crate::maths) fn renamed(&self, name: &impl Fn(&str) -> String) -> Expression {
        let all = |parts: &[Expression]| parts.iter().map(|part| part.renamed(name)).collect();
        let both = |pair: &(Expression, Expression)| Box::new((pair.0.renamed(name), pair.1.renamed(name)));
        match self {
            Expression::Symbol(own) => Expression::Symbol(name(own)),
            Expression::Sum(parts) => Expression::Sum(all(parts)),
            Expression::Product(parts) => Expression::Product(all(parts)),
            Expression::Power(pair) => Expression::Power(both(pair)),
            Expression::Logarithm(pair) => Expression::Logarithm(both(pair)),
            Expression::Binomial(pair) => Expression::Binomial(both(pair)),
            Expression::Call(function, part) => Expression::Call(*function, Box::new(part.renamed(name))),
            Expression::Root(degree, part) => Expression::Root(*degree, Box::new(part.renamed(name))),
            other => other.clone(),
        }
    }

    pub(in crate::maths) fn contains(&self, wanted: &Expression) -> bool {
        let mut found = self == wanted;
        self.for_each_part(|part| found |= part.contains(wanted));
        found
    }

    /// Whether it is meant for integers: with a factorial or a binomial coefficient in it.
    pub(in crate::maths) fn is_discrete(&self) -> bool {
        let mut found = matches!(self, Expression::Binomial(_) | Expression::Call(Function::Factorial, _));
        self.for_each_part(|part| found |= part.is_discrete());
        found
    }

    fn for_each_part<'a>(&'a self, mut visit: impl FnMut(&'a Expression)) {
        match self {
            Expression::Sum(parts) | Expression::Product(parts) => parts.iter().for_each(visit),
            Expression::Power(pair) | Expression::Logarithm(pair) | Expression::Binomial(pair) => {
                visit(&pair.0);
                visit(&pair.1);
            }
            Expression::Call(_, part) | Expression::Root(_, part) => visit(part),
            _ => {}
        }
    }
}
