//! Divides lists into pages. The query parameters and the JSON of the responses are those of the REST server of a Cosmos
//! SDK node.

use super::extract::{InvalidArgument, invalid};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::{Value, json};

/// The number of entries on a page if the request does not state a number.
pub(super) const DEFAULT_LIMIT: usize = 100;

/// The parameters that select a page of a list.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PageRequest {
    /// The key of the first entry on the page, in base64. The response with the previous page states this key as
    /// `next_key`.
    #[serde(rename = "pagination.key")]
    key: String,
    /// The number of entries before the page. It cannot be combined with a key.
    #[serde(rename = "pagination.offset")]
    pub(super) offset: usize,
    #[serde(rename = "pagination.limit")]
    pub(super) limit: usize,
    #[serde(rename = "pagination.count_total")]
    count_total: bool,
    #[serde(rename = "pagination.reverse")]
    pub(super) reverse: bool,
}

impl PageRequest {
    /// Returns the entries on the page, and the object `pagination` of the response. `entries` is the complete list:
    /// the key and the JSON of each entry, sorted by key.
    pub(super) fn select(self, mut entries: Vec<(String, Value)>) -> Result<(Vec<Value>, Value), InvalidArgument> {
        let Self { key, offset, limit, count_total, reverse } = self;
        let key = BASE64.decode(&key).map_err(|_| invalid("pagination.key is not base64"))?;
        if !key.is_empty() && offset > 0 {
            return Err(invalid("invalid request, either offset or key is expected, got both"));
        }
        // as in the SDK, the entries are also counted if the request states no limit
        let (limit, counts) = if limit == 0 { (DEFAULT_LIMIT, true) } else { (limit, count_total) };
        let total = if counts && key.is_empty() { entries.len() } else { 0 };
        if reverse {
            entries.reverse();
        }
        let is_before = |(name, _): &&(String, Value)| match reverse {
            false => name.as_bytes() < &key[..],
            true => name.as_bytes() > &key[..],
        };
        let first = if key.is_empty() { offset } else { entries.iter().take_while(is_before).count() };
        let mut rest = entries.into_iter().skip(first);
        let page = rest.by_ref().take(limit).map(|(_, entry)| entry).collect();
        let next_key = rest.next().map(|(name, _)| BASE64.encode(name));
        Ok((page, json!({ "next_key": next_key, "total": total.to_string() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(request: Value) -> (Vec<Value>, Value) {
        let entries = ["aa", "bb", "cc"].map(|name| (name.to_owned(), json!(name))).to_vec();
        serde_json::from_value::<PageRequest>(request).unwrap().select(entries).unwrap()
    }

    #[test]
    fn pages_follow_each_other() {
        let all = (vec![json!("aa"), json!("bb"), json!("cc")], json!({ "next_key": null, "total": "3" }));
        assert_eq!(page(json!({})), all);
        let (first, pagination) = page(json!({ "pagination.limit": 2 }));
        assert_eq!((first, &pagination["total"]), (vec![json!("aa"), json!("bb")], &json!("0")));
        let second = page(json!({ "pagination.limit": 2, "pagination.key": pagination["next_key"] }));
        assert_eq!(second, (vec![json!("cc")], json!({ "next_key": null, "total": "0" })));
        let last = json!({ "pagination.reverse": true, "pagination.limit": 1, "pagination.count_total": true });
        assert_eq!(page(last), (vec![json!("cc")], json!({ "next_key": "YmI=", "total": "3" })));
        let backwards = page(json!({ "pagination.reverse": true, "pagination.key": "YmI=" }));
        assert_eq!(backwards.0, [json!("bb"), json!("aa")]);
        assert_eq!(page(json!({ "pagination.offset": 7 })).0, Vec::<Value>::new());
    }

    #[test]
    fn a_page_starts_at_a_key_or_at_an_offset() {
        for request in [json!({ "pagination.key": "YmI=", "pagination.offset": 1 }), json!({ "pagination.key": "?" })] {
            let request: PageRequest = serde_json::from_value(request).unwrap();
            assert!(request.select(Vec::new()).is_err());
        }
    }
}
