//! SPDX licence expressions: read completely or not at all.
//!
//! The grammar is that of SPDX 2.3, annex D (`WITH` binds tightest, then `AND`, then `OR`), and the older
//! slash that packages published before 2018 still use for `OR`.

/// A licence expression as a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// One licence, with its exception where it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    /// Both sides bind.
    And(Box<Expression>, Box<Expression>),
    /// The taker chooses a side.
    Or(Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Reads `text`; the error names what could not be read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text), next: 0 };
        let expression = parser.or()?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => Err(format!("`{token}` is not expected in the licence `{text}`")),
        }
    }

    /// Whether somebody who accepts only the licences of `accepted` may take what is under this expression.
    pub(super) fn is_satisfied_by(&self, accepted: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(name) => accepted(name),
            Self::And(left, right) => left.is_satisfied_by(accepted) && right.is_satisfied_by(accepted),
            Self::Or(left, right) => left.is_satisfied_by(accepted) || right.is_satisfied_by(accepted),
        }
    }
}

struct Parser {
    tokens: Vec<String>,
    next: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.take_if(|token| token == "OR" || token == "/") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.operand()?;
        while self.take_if(|token| token == "AND") {
            left = Expression::And(Box::new(left), Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        if self.take_if(|token| token == "(") {
            let inner = self.or()?;
            return if self.take_if(|token| token == ")") {
                Ok(inner)
            } else {
                Err("a parenthesis is not closed".to_owned())
            };
        }
        let mut name = self.name()?;
        if self.take_if(|token| token == "WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Ok(Expression::Licence(name))
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some("AND" | "OR" | "WITH" | "(" | ")" | "/") | None => {
                Err(format!("a licence name is missing before `{}`", self.peek().unwrap_or("the end")))
            }
            Some(name) => {
                let name = name.to_owned();
                self.next += 1;
                Ok(name)
            }
        }
    }

    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.next).map(String::as_str)
    }

    fn take_if(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        self.next += usize::from(found);
        found
    }
}

fn tokens(text: &str) -> Vec<String> {
    let spaced: String =
        text.chars().flat_map(|c| if "()/".contains(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn satisfied(text: &str, accepted: &[&str]) -> bool {
    Expression::parse(text)
        .expect("the text is an expression")
        .is_satisfied_by(&|name: &str| accepted.contains(&name))
}

#[test]
fn either_side_of_or_is_enough_and_and_needs_both() {
    assert!(satisfied("MIT OR GPL-3.0-only", &["MIT"]));
    assert!(satisfied("Apache-2.0/MIT", &["MIT"]));
    assert!(!satisfied("MIT AND GPL-3.0-only", &["MIT"]));
    assert!(satisfied("MIT AND BSD-3-Clause", &["MIT", "BSD-3-Clause"]));
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_tighter_than_both() {
    assert!(satisfied("MIT OR GPL-3.0-only AND AGPL-3.0-only", &["MIT"]));
    assert!(!satisfied("(MIT OR GPL-3.0-only) AND Unicode-3.0", &["MIT"]));
    assert!(satisfied("(MIT OR GPL-3.0-only) AND Unicode-3.0", &["MIT", "Unicode-3.0"]));
}

#[test]
fn an_exception_is_part_of_the_licence() {
    assert!(satisfied("Apache-2.0 WITH LLVM-exception", &["Apache-2.0 WITH LLVM-exception"]));
    assert!(!satisfied("GPL-2.0-only WITH Classpath-exception-2.0", &["GPL-2.0-only"]));
}

#[test]
fn a_half_written_expression_is_refused() {
    for text in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH"] {
        assert!(Expression::parse(text).is_err(), "`{text}` was accepted");
    }
}
