//! Determines from an `adapter_config.json` which linear layers an adapter adapts, and with which rank and alpha. The
//! rules are those of the functions `check_target_module_exists` and `get_pattern_key` in PEFT 0.21.

use super::{
    config::{AdapterConfig, malformed},
    names::module_name,
};
use crate::{
    error::Error,
    model::{config::Linear, transformer::Targets},
};
use fancy_regex::Regex;
use serde_json::Value;

/// A value of `target_modules` or `exclude_modules`.
pub(super) enum Modules {
    /// The value `all-linear` of `target_modules`, which names every linear layer except the output head.
    AllLinear,
    /// A regular expression for whole module paths.
    Expression(Regex),
    /// Names of modules. Each name is a whole module path or the end of one, such as `q_proj`.
    Names(Vec<String>),
}

/// Restricts an adapter to some of the decoder layers: contains the indexes of these layers, which are the value of the
/// key `layers_to_transform`, and regular expressions that find the index of the layer in a module path.
pub(super) struct LayerFilter {
    indexes: Vec<u64>,
    patterns: Vec<Regex>,
}

/// The ranks or the alphas of modules that differ from the rank or the alpha of the adapter. Each entry consists of a
/// regular expression that matches the end of a module path, and the value for the modules with such a path.
pub(super) struct Overrides(Vec<(Regex, Value)>);

/// Compiles an expression in the syntax of Python's module `re`. `key` is the key of the config that contains the
/// expression. An error names this key.
fn compile(key: &str, expression: &str) -> Result<Regex, Error> {
    Regex::new(expression)
        .map_err(|error| malformed(format!("{key} contains a regular expression that is not supported: {error}")))
}

/// Returns whether the expression matches the module path. Returns an error if the matching takes too many steps.
fn matches(expression: &Regex, path: &str) -> Result<bool, Error> {
    expression.is_match(path).map_err(|error| {
        malformed(format!("the module path {path} could not be matched with a regular expression: {error}"))
    })
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, Error> {
    let not_text = || malformed(format!("{key} must be a string or a list of strings"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(not_text)).collect(),
        _ => Err(not_text()),
    }
}

impl Modules {
    /// Parses the value of the key `target_modules` or `exclude_modules`. `key` is the name of the key.
    pub(super) fn read(key: &str, value: &Value) -> Result<Self, Error> {
        match value {
            Value::String(text) if key == "target_modules" && text.eq_ignore_ascii_case("all-linear") => {
                Ok(Self::AllLinear)
            }
            Value::String(text) => Ok(Self::Expression(compile(key, &format!(r"^(?:{text})\z"))?)),
            _ => Ok(Self::Names(texts(key, value)?)),
        }
    }

    /// Returns whether this value of `target_modules` or `exclude_modules` names the module at `path`.
    fn contains(&self, path: &str) -> Result<bool, Error> {
        match self {
            Self::AllLinear => Ok(true),
            Self::Expression(expression) => matches(expression, path),
            Self::Names(names) => Ok(names.iter().any(|name| is_end(name, path))),
        }
    }
}

/// Returns whether `name` is the whole module path `path`, or the end of the path after one of its dots.
fn is_end(name: &str, path: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl LayerFilter {
    /// Reads the values of the keys `layers_to_transform` (`indexes`, the indexes of the adapted decoder layers) and
    /// `layers_pattern` (`pattern`, the name of the list of layers in a module path). Returns `None` if all layers are
    /// adapted.
    pub(super) fn read(indexes: &Value, pattern: &Value) -> Result<Option<Self>, Error> {
        let list = match indexes {
            Value::Null => return Ok(None),
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        let invalid = || malformed("layers_to_transform must be the index of a layer, or a list of indexes".into());
        let indexes = list.iter().map(|index| index.as_u64().ok_or_else(invalid)).collect::<Result<Vec<_>, _>>()?;
        let expression = |pattern: String| compile("layers_pattern", &format!(r"^(?:|.*?\.){pattern}\.(?P<idx>\d+)\."));
        let mut patterns = texts("layers_pattern", pattern)?;
        if patterns.is_empty() {
            patterns.push(r"[^.]*".into());
        }
        let patterns = patterns.into_iter().map(expression).collect::<Result<_, _>>()?;
        Ok((!indexes.is_empty()).then_some(Self { indexes, patterns }))
    }

    fn contains(&self, path: &str) -> Result<bool, Error> {
        for pattern in &self.patterns {
            let found = pattern.captures(path).map_err(|error| {
                malformed(format!("the module path {path} could not be matched with layers_pattern: {error}"))
            })?;
            if let Some(index) = found.and_then(|found| found.name("idx")?.as_str().parse().ok()) {
                return Ok(self.indexes.contains(&index));
            }
        }
        Ok(false)
    }
}

impl Overrides {
    /// Reads the value of the key `rank_pattern` or `alpha_pattern`: a map from expressions for module paths to ranks
    /// or alphas. `key` is the name of the key.
    pub(super) fn read(key: &str, value: &Value) -> Result<Self, Error> {
        let entry = |(pattern, value): (&String, &Value)| {
            Ok((compile(key, &format!(r"^(?:.*\.)?(?:{pattern})\z"))?, value.clone()))
        };
        Ok(Self(value.as_object().into_iter().flatten().map(entry).collect::<Result<_, Error>>()?))
    }

    /// Returns the value for the module at `path`, or `default` if no entry matches the path. Returns an error if
    /// several entries match and their values differ, because in PEFT, the order of the entries in the file then
    /// decides which value applies.
    fn value<'a>(&'a self, key: &str, path: &str, default: &'a Value) -> Result<&'a Value, Error> {
        let mut found = None;
        for (expression, value) in &self.0 {
            if matches(expression, path)? {
                if found.is_some_and(|other| other != value) {
                    return Err(malformed(format!("{key} has two different values for module {path}; keep only one")));
                }
                found = Some(value);
            }
        }
        Ok(found.unwrap_or(default))
    }
}

impl AdapterConfig {
    /// Returns the rank, the adapted linear layers and alpha of an adapter for a model with `layers` decoder layers.
    ///
    /// Returns an error unless the adapter adapts the same linear layers in every decoder layer, all with the same rank
    /// and the same alpha. With rsLoRA (rank-stabilized LoRA), the returned alpha is `lora_alpha · √rank`, because
    /// rsLoRA divides by √rank instead of the rank. This product must be a whole number.
    pub(super) fn resolve(&self, layers: usize) -> Result<(Targets, u32), Error> {
        let mut adapter: Option<(Targets, u32)> = None;
        for layer in 0..layers {
            let mut linears = Vec::new();
            for linear in Linear::ALL {
                let path = format!("model.layers.{layer}.{}", linear.path());
                if !self.adapts(&path)? {
                    continue;
                }
                linears.push(linear);
                let rank = self.rank(self.ranks.value("rank_pattern", &path, &self.rank)?)?;
                let alpha = self.alpha(self.alphas.value("alpha_pattern", &path, &self.alpha)?, rank)?;
                let (first, first_alpha) =
                    adapter.get_or_insert_with(|| (Targets { rank, linears: Vec::new() }, alpha));
                if (first.rank, *first_alpha) != (rank, alpha) {
                    let key = if first.rank == rank { "alpha_pattern" } else { "rank_pattern" };
                    return Err(malformed(format!(
                        "{key} gives {path} the rank {rank} and the alpha {alpha}, but another linear layer has the \
                         rank {} and the alpha {first_alpha}; only one rank and one alpha are supported",
                        first.rank
                    )));
                }
            }
            let names =
                |linears: &[Linear]| linears.iter().map(|linear| module_name(*linear)).collect::<Vec<_>>().join(" ");
            match &mut adapter {
                Some((targets, _)) if layer == 0 => targets.linears = linears,
                Some((targets, _)) if targets.linears != linears => {
                    return Err(malformed(format!(
                        "target_modules and layers_to_transform select {:?} in layer 0, but {:?} in layer {layer}; \
                         only adapters of the same linear layers in every decoder layer are supported",
                        names(&targets.linears),
                        names(&linears)
                    )));
                }
                _ => {}
            }
        }
        adapter.ok_or_else(|| malformed("target_modules names none of the model's linear layers".into()))
    }

    /// Returns whether the linear layer at `path` is adapted.
    fn adapts(&self, path: &str) -> Result<bool, Error> {
        if self.excluded.contains(path)? || !self.targets.contains(path)? {
            return Ok(false);
        }
        match (&self.layers, &self.targets) {
            (Some(layers), Modules::Names(names)) if !names.iter().any(|name| name == path) => layers.contains(path),
            _ => Ok(true),
        }
    }
}
