//! The queries with which clients of CometBFT select transactions and events:
//! <https://docs.cometbft.com/v0.38/core/subscription>. The supported queries consist of conditions such as
//! `key='value'` or `tx.height >= 5`, joined by `AND`.

use crate::node::TxFilter;
use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr};

/// The maximum length of a query in bytes, as in CometBFT.
const MAX_QUERY_BYTES: usize = 512;
const HASH: &str = "tx.hash";
const HEIGHT: &str = "tx.height";

/// The attributes of an event: a map from the key of each attribute to all values with this key.
pub(in crate::server) type EventAttributes = BTreeMap<String, Vec<String>>;

/// A parsed query, which selects transactions or events. It is created from its text by [`str::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct EventQuery(TxFilter);

impl EventQuery {
    /// Returns the conditions of the query as a [`TxFilter`], with which the node searches for transactions.
    pub(in crate::server) fn into_filter(self) -> TxFilter {
        self.0
    }

    /// Returns whether an event with these attributes satisfies the query.
    pub(in crate::server) fn matches(&self, event: &EventAttributes) -> bool {
        let TxFilter { hash, attributes, heights } = &self.0;
        let has = |key: &str, value: &str| event.get(key).is_some_and(|values| values.iter().any(|one| one == value));
        let height = event.get(HEIGHT).and_then(|heights| heights.first()?.parse().ok());
        hash.as_ref().is_none_or(|hash| has(HASH, hash))
            && attributes.iter().all(|(key, value)| has(key, value))
            && (*heights == ANY_HEIGHT || height.is_some_and(|height| heights.contains(&height)))
    }
}

const ANY_HEIGHT: RangeInclusive<u64> = 0..=u64::MAX;

impl FromStr for EventQuery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the query is empty: state a condition such as tx.height=5".to_owned());
        }
        if text.len() > MAX_QUERY_BYTES {
            return Err(format!("the query has {} bytes, but may have at most {MAX_QUERY_BYTES}", text.len()));
        }
        let mut filter = TxFilter { hash: None, attributes: Vec::new(), heights: ANY_HEIGHT };
        let mut rest = text;
        loop {
            rest = condition(&mut filter, rest)?.trim_start();
            if rest.is_empty() {
                return Ok(Self(filter));
            }
            rest = rest
                .strip_prefix("AND")
                .filter(|rest| rest.starts_with(char::is_whitespace))
                .ok_or_else(|| format!("the query must have AND before {rest:?}"))?;
        }
    }
}

/// Parses the condition at the start of `text`, such as `tx.height >= 5`, and adds it to `filter`. Returns the part of
/// `text` that follows the condition.
fn condition<'a>(filter: &mut TxFilter, text: &'a str) -> Result<&'a str, String> {
    let text = text.trim_start();
    let end = text.find(|sign: char| sign.is_whitespace() || "<>='".contains(sign)).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let operator = ["<=", ">=", "=", "<", ">"].into_iter().find(|operator| rest.starts_with(operator));
    let (Some(operator), false) = (operator, key.is_empty()) else {
        return Err(format!("the query must have a key and one of =, <, >, <= and >= where {text:?} begins"));
    };
    let (value, rest) = operand(rest[operator.len()..].trim_start())?;
    match (key, operator) {
        (HEIGHT, operator) => {
            let height = value.parse().map_err(|_| format!("the height {value:?} is not a whole number"))?;
            narrow(filter, operator, height);
        }
        (HASH, "=") => {
            let hash = value.to_uppercase();
            if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(format!("the hash {value:?} does not have 64 hexadecimal digits"));
            }
            // no transaction has two hashes, so this query must find nothing
            match &filter.hash {
                Some(other) if *other != hash => filter.attributes.push((HASH.to_owned(), hash)),
                _ => filter.hash = Some(hash),
            }
        }
        (_, "=") => filter.attributes.push((key.to_owned(), value.to_owned())),
        _ => {
            return Err(format!(
                "{key} can be compared only by `=`, because `<`, `>`, `<=` and `>=` work only with {HEIGHT}"
            ));
        }
    }
    Ok(rest)
}

/// Reads a value at the start of `text`: a string in single quotes, or a number. Returns the value without its quotes,
/// and the part of `text` that follows the value.
fn operand(text: &str) -> Result<(&str, &str), String> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return quoted.split_once('\'').ok_or_else(|| format!("the closing quote is missing after {text:?}"));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    match text[..end].parse::<f64>() {
        Ok(_) => Ok(text.split_at(end)),
        Err(_) => Err(format!("the query must have a text in single quotes or a number where {text:?} begins")),
    }
}

/// Restricts the range of block heights in `filter` by a condition, such as `>= 5`, which consists of `operator` and
/// `height`.
fn narrow(filter: &mut TxFilter, operator: &str, height: u64) {
    let (least, most) = match operator {
        "<" if height == 0 => (1, 0),
        "<" => (0, height - 1),
        "<=" => (0, height),
        ">" if height == u64::MAX => (1, 0),
        ">" => (height + 1, u64::MAX),
        ">=" => (height, u64::MAX),
        _ => (height, height),
    };
    filter.heights = least.max(*filter.heights.start())..=most.min(*filter.heights.end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_with_and_without_spaces() {
        let hash = "AB".repeat(32);
        let text =
            format!("message.sender='remes1x' AND tx.height>=3 AND tx.height < 9 AND tx.hash = '{hash}' AND a.b=5");
        let TxFilter { hash: found, attributes, heights } = text.parse::<EventQuery>().unwrap().into_filter();
        assert_eq!((found, heights), (Some(hash), 3..=8));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(attributes, [pair("message.sender", "remes1x"), pair("a.b", "5")]);
        for (text, heights) in
            [("tx.height='7'", 7..=7), ("tx.height>7", 8..=u64::MAX), ("tx.height<0", RangeInclusive::new(1, 0))]
        {
            assert_eq!(text.parse::<EventQuery>().unwrap().into_filter().heights, heights, "{text}");
        }
    }

    #[test]
    fn other_queries_are_refused() {
        let long = format!("a.b='{}'", "x".repeat(MAX_QUERY_BYTES));
        for (text, reason) in [
            ("", "empty"),
            (long.as_str(), "at most 512"),
            ("tx.height", "must have a key"),
            ("='5'", "must have a key"),
            ("tx.height CONTAINS '5'", "must have a key"),
            ("tx.height=x", "single quotes"),
            ("tx.height='x'", "not a whole number"),
            ("tx.height=1.5", "not a whole number"),
            ("tx.hash='AB'", "64 hexadecimal digits"),
            ("a.b='x", "closing quote is missing"),
            ("a.b>5", "only with tx.height"),
            ("a.b='x' OR c.d='y'", "must have AND"),
            ("a.b='x' ANDc.d='y'", "must have AND"),
            ("a.b='x' AND", "must have AND"),
            ("a.b='x' AND ", "must have a key"),
        ] {
            let error = text.parse::<EventQuery>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_event_matches_if_it_satisfies_all_conditions() {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let event = EventAttributes::from([
            ("tm.event".to_owned(), values(&["Tx"])),
            (HEIGHT.to_owned(), values(&["12"])),
            ("transfer.sender".to_owned(), values(&["a", "b"])),
        ]);
        let matches = |query: &str| query.parse::<EventQuery>().unwrap().matches(&event);
        assert!(matches("tm.event='Tx'") && matches("tm.event = 'Tx' AND transfer.sender='b' AND tx.height>11"));
        assert!(!matches("tm.event='NewBlock'") && !matches("tm.event='Tx' AND tx.height<12"));
        assert!(!matches("transfer.sender='a' AND transfer.sender='c'") && !matches("transfer.recipient='a'"));
        assert!(!matches(&format!("tx.hash='{}'", "00".repeat(32))));
    }
}
