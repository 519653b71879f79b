//! Checks the rules that keep a shader's arithmetic exact, on naga's intermediate representation of the shader: only
//! 32-bit integers, no division, no shift by more than 31 bits, and no operation whose result depends on the driver.

use super::Parsed;
use naga::{
    BinaryOperator, Expression, Function, Handle, Literal, MathFunction, ScalarKind, Statement, TypeInner,
    valid::FunctionInfo,
};

/// Whether a shader may use floating-point numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floats {
    /// The shader must not use floating-point numbers.
    None,
    /// The shader may use f32. A review of its source has shown that all f32 values are integers below 2^24 in
    /// magnitude, which f32 represents exactly.
    Audited,
}

/// Returns one message for each violation of the rules, sorted and without duplicates.
pub(crate) fn faults(parsed: &Parsed, floats: Floats) -> Vec<String> {
    let Parsed { module, info, .. } = parsed;
    let mut faults = Vec::new();
    for (_, declared) in module.types.iter() {
        faults.extend(scalar_fault(&declared.inner, floats).map(|fault| format!("a type {fault}")));
    }
    for (_, expression) in module.global_expressions.iter() {
        faults.extend(literal_fault(expression, floats).map(|fault| format!("a constant {fault}")));
    }
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(at, entry)| (&entry.function, info.get_entry_point(at)));
    for (function, info) in functions.chain(entries) {
        let body = Body { module, function, info, floats };
        let name = function.name.as_deref().unwrap_or("main");
        let broken = function.expressions.iter().filter_map(|(handle, _)| body.expression_fault(handle));
        faults.extend(
            broken
                .chain(body.block_faults(&function.body, Path::Always, &mut false))
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    faults.sort();
    faults.dedup();
    faults
}

fn scalar_fault(inner: &TypeInner, floats: Floats) -> Option<String> {
    let scalar = match inner.scalar() {
        Some(scalar) => scalar,
        None => match inner {
            TypeInner::Atomic(scalar) => *scalar,
            _ => return None,
        },
    };
    match scalar.kind {
        ScalarKind::Bool => None,
        ScalarKind::Uint | ScalarKind::Sint if scalar.width == 4 => None,
        ScalarKind::Float if scalar.width == 4 && floats == Floats::Audited => None,
        kind => Some(format!("is {kind:?} of {} bytes", scalar.width)),
    }
}

fn literal_fault(expression: &Expression, floats: Floats) -> Option<String> {
    match expression {
        Expression::Literal(Literal::U32(_) | Literal::I32(_) | Literal::Bool(_)) => None,
        Expression::Literal(Literal::F32(_)) if floats == Floats::Audited => None,
        Expression::Literal(other) => Some(format!("is {other:?}")),
        _ => None,
    }
}

/// A shader function to check, together with its module and the results of naga's analysis.
struct Body<'a> {
    module: &'a naga::Module,
    function: &'a Function,
    info: &'a FunctionInfo,
    floats: Floats,
}

impl Body<'_> {
    fn inner(&self, handle: Handle<Expression>) -> &TypeInner {
        self.info[handle].ty.inner_with(&self.module.types)
    }

    fn kind(&self, handle: Handle<Expression>) -> Option<ScalarKind> {
        self.inner(handle).scalar_kind()
    }

    fn expression_fault(&self, handle: Handle<Expression>) -> Option<String> {
        let fault = match self.function.expressions[handle] {
            ref literal @ Expression::Literal(_) => literal_fault(literal, self.floats),
            Expression::Binary { op: BinaryOperator::Divide, .. } => Some("divides".to_owned()),
            Expression::Binary { op: BinaryOperator::Modulo, .. } => Some("takes a remainder".to_owned()),
            Expression::Binary { op: op @ (BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight), left, right } => {
                if self.bound(right).is_none_or(|bound| bound > 31) {
                    Some("shifts by an amount that may exceed 31".to_owned())
                } else if op == BinaryOperator::ShiftLeft && self.kind(left) != Some(ScalarKind::Uint) {
                    Some("shifts a signed integer left".to_owned())
                } else {
                    None
                }
            }
            Expression::As { expr, kind, convert: None }
                if kind == ScalarKind::Float || self.kind(expr) == Some(ScalarKind::Float) =>
            {
                Some("reads bits as a float, or a float's bits as an integer".to_owned())
            }
            Expression::ArrayLength(_) => Some("reads the length of an array".to_owned()),
            Expression::Math { fun: MathFunction::Dot, .. } => Some("uses dot() of vectors".to_owned()),
            Expression::SubgroupBallotResult | Expression::SubgroupOperationResult { .. } => {
                Some("uses subgroups".to_owned())
            }
            Expression::Derivative { .. } => Some("uses derivatives".to_owned()),
            _ => None,
        };
        fault.or_else(|| scalar_fault(self.inner(handle), self.floats).map(|fault| format!("a value {fault}")))
    }

    /// Returns an upper bound of an unsigned expression, or `None` if its operators and literals alone do not imply a
    /// bound.
    fn bound(&self, handle: Handle<Expression>) -> Option<u64> {
        match self.function.expressions[handle] {
            Expression::Literal(literal) => literal_bound(literal),
            Expression::Constant(constant) => {
                match self.module.global_expressions[self.module.constants[constant].init] {
                    Expression::Literal(literal) => literal_bound(literal),
                    _ => None,
                }
            }
            Expression::Splat { value, .. } => self.bound(value),
            Expression::Compose { ref components, .. } => components
                .iter()
                .map(|component| self.bound(*component))
                .try_fold(0, |max, bound| Some(max.max(bound?))),
            Expression::Select { accept, reject, .. } => Some(self.bound(accept)?.max(self.bound(reject)?)),
            Expression::Binary { op, left, right } => match op {
                BinaryOperator::And => match (self.bound(left), self.bound(right)) {
                    (Some(left), Some(right)) => Some(left.min(right)),
                    (left, right) => left.or(right),
                },
                BinaryOperator::Add => Some(self.bound(left)? + self.bound(right)?),
                BinaryOperator::Multiply => Some(self.bound(left)? * self.bound(right)?),
                BinaryOperator::ShiftLeft => Some(self.bound(left)? << self.bound(right).filter(|bound| *bound < 32)?),
                BinaryOperator::ShiftRight => self.bound(left),
                _ => None,
            }
            .filter(|bound| *bound <= u64::from(u32::MAX)),
            _ => None,
        }
    }

    /// Returns one message for each faulty statement in a block. `path` says which invocations reach the block. `left`
    /// is true if some invocations of the workgroup may have returned before the current statement, while others have
    /// not.
    fn block_faults(&self, block: &naga::Block, path: Path, left: &mut bool) -> Vec<String> {
        let mut faults = Vec::new();
        for statement in block.iter() {
            for (inner, condition) in branches(statement) {
                let uniform =
                    condition.is_none_or(|condition| self.info[condition].uniformity.non_uniform_result.is_none());
                let inner_path = match (condition, uniform) {
                    (None, _) => path,
                    (Some(_), true) => path.max(Path::Branch),
                    (Some(_), false) => Path::Divergent,
                };
                faults.extend(self.block_faults(inner, inner_path, left));
                if matches!(statement, Statement::Loop { .. }) {
                    faults.extend(self.block_faults(inner, inner_path, left)); // checked again as the second iteration
                }
            }
            match statement {
                Statement::Atomic { fun: naga::AtomicFunction::Add | naga::AtomicFunction::Max, result, .. } => {
                    // naga gives every atomic a result, which no expression may read.
                    let read = result.is_some_and(|result| self.info[result].ref_count > 0);
                    faults.extend(read.then(|| "reads the result of an atomic operation".to_owned()));
                }
                Statement::Atomic { .. } => faults.push("uses an atomic operation other than add and max".to_owned()),
                Statement::Return { .. } => *left |= path == Path::Divergent,
                Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => {
                    if path > Path::Always {
                        faults.push("has a barrier inside a branch".to_owned());
                    }
                    if *left {
                        faults.push("has a barrier after some invocations returned".to_owned());
                    }
                }
                _ => {}
            }
        }
        faults
    }
}

/// Which invocations of a workgroup reach a block. `Always`: all of them. `Branch`: all or none, because every
/// enclosing condition is uniform. `Divergent`: perhaps only some.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Path {
    Always,
    Branch,
    Divergent,
}

/// Returns the blocks inside a statement, each with the condition that decides whether the block runs. The condition is
/// `None` for a block that always runs, and for the blocks of a loop, because the body of a loop runs at least once.
fn branches(statement: &Statement) -> Vec<(&naga::Block, Option<Handle<Expression>>)> {
    match statement {
        Statement::Block(inner) => vec![(inner, None)],
        Statement::Loop { body, continuing, .. } => vec![(body, None), (continuing, None)],
        Statement::If { condition, accept, reject } => vec![(accept, Some(*condition)), (reject, Some(*condition))],
        Statement::Switch { selector, cases } => cases.iter().map(|case| (&case.body, Some(*selector))).collect(),
        _ => Vec::new(),
    }
}

fn literal_bound(literal: Literal) -> Option<u64> {
    match literal {
        Literal::U32(value) => Some(value.into()),
        Literal::I32(value) => value.try_into().ok(),
        _ => None,
    }
}
