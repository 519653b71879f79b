//! Macros that turn the table of messages in [`messages`](super::messages) into declarations: a struct for each
//! message, and the enum [`Message`](super::Message).

/// Declares the protobuf structs of a package. Each field is written as `name: RustType = kind "tag"`, where `kind` is
/// the name of the field's type in prost, such as `uint64`.
macro_rules! protobuf {
    ($package:literal: $($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $($kind:ident),+ $tag:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct $name {
            $($(#[$field_doc])* #[prost($($kind),+, tag = $tag)] pub $field: $type,)*
        }

        impl prost::Name for $name {
            const NAME: &'static str = stringify!($name);
            const PACKAGE: &'static str = $package;

            fn type_url() -> String {
                concat!("/", $package, ".", stringify!($name)).to_owned()
            }
        }

        impl Amino for $name {
            fn to_amino(&self) -> Option<serde_json::Value> {
                Some(object([$((stringify!($field), self.$field.to_amino()),)*]))
            }
        }
    )*};
}

/// The type of the value in a variant of [`Message`](super::Message): the struct of the message, or a `Box` of this
/// struct.
macro_rules! payload {
    ($name:ident) => { $name };
    ($name:ident $boxed:ident) => { $boxed<$name> };
}

/// Declares the enum [`Message`](super::Message) from a table with one entry for each message. The entries are grouped
/// under `package NAME, amino NAME` and under `foreign`.
///
/// An entry under `package` also declares the struct of the message. The entry has the form
/// `Variant(Struct) signed by FIELD { fields }`, or begins with `Variant(Struct in Box)` if the struct is large. Three
/// clauses are optional: `naming FIELD` names a field that contains the address of another account,
/// `checked by METHOD` names the method that checks a decoded message, and `allowed in MsgExec` permits a `MsgExec` to
/// carry the message. The amino name, which identifies the type of a message in amino JSON, consists of the name after
/// `amino`, a slash, and the name of the struct.
///
/// An entry under `foreign` describes a message of the Cosmos SDK. `read by` names the function that decodes the
/// variant's values from the message's bytes. `written by` names the function that encodes these values as an `Any`.
/// `shown by` names the function that returns the amino JSON of the message's bytes.
macro_rules! messages {
    (
        $(package $package:literal, amino $amino:literal {$(
            $(#[$doc:meta])*
            $arm:ident($name:ident $(in $boxed:ident)?) signed by $signer:ident
            $(, naming $named:ident)? $(, checked by $check:ident)? $(, allowed in $exec:ident)? { $($fields:tt)* }
        )*})*
        foreign {$(
            $(#[$foreign_doc:meta])*
            $foreign:ident($($value:ident: $type:ty),+) = $url:literal, amino $foreign_amino:literal,
            signed by $granter:ident $(.$part:ident)*, read by $read:path, written by $write:path, shown by $show:path;
        )*}
    ) => {
        $(protobuf! { $package: $($(#[$doc])* $name { $($fields)* })* })*

        /// A message that the ledger executes.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $($(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $arm(payload!($name $($boxed)?)),
            )*)*
            $($(#[$foreign_doc])* $foreign($($type),+),)*
        }

        impl Message {
            /// The type URLs of all messages.
            #[cfg(test)]
            pub(super) const TYPE_URLS: &[&str] =
                &[$($(concat!("/", $package, ".", stringify!($name)),)*)* $($url,)*];

            /// Decodes a message of a transaction. Addresses in the result are in lower case. No signature is checked.
            pub(super) fn read(any: &Any) -> Result<Self, TxError> {
                let (url, value) = (any.type_url.as_str(), &*any.value);
                $($(
                    if url == concat!("/", $package, ".", stringify!($name)) {
                        let mut message: $name = decode(value)?;
                        message.$signer = canonical_address(&message.$signer)?;
                        $(message.$named = canonical_address(&message.$named)?;)?
                        $(message.$check()?;)?
                        return Ok(Self::$arm(message.into()));
                    }
                )*)*
                $(
                    if url == $url {
                        #[allow(unused_parens, reason = "an arm of one value")]
                        let ($($value),+) = $read(value)?;
                        return Ok(Self::$foreign($($value),+));
                    }
                )*
                Err(TxError::UnknownMessage(url.chars().take(64).collect()))
            }

            /// Returns a message of a transaction in amino JSON.
            pub(super) fn amino(any: &Any) -> Result<serde_json::Value, TxError> {
                let (url, value) = (any.type_url.as_str(), &*any.value);
                $($(
                    if url == concat!("/", $package, ".", stringify!($name)) {
                        const NAME: &str = concat!($amino, "/", stringify!($name));
                        const { assert!(NAME.len() <= MAX_NAME_BYTES) };
                        let message: $name = decode_canonical(value)?;
                        return Ok(typed(NAME, message.to_amino().unwrap_or_default()));
                    }
                )*)*
                $(
                    if url == $url {
                        return Ok(typed($foreign_amino, $show(value)?));
                    }
                )*
                Err(TxError::UnknownMessage(url.chars().take(64).collect()))
            }

            /// Returns the message in the form in which a transaction carries it: its type URL and its protobuf
            /// encoding.
            pub fn to_any(&self) -> Any {
                match self {
                    $($(Self::$arm(message) => {
                        Any { type_url: self.type_url().to_owned(), value: message.encode_to_vec() }
                    })*)*
                    $(Self::$foreign($($value),+) => $write($($value),+),)*
                }
            }

            /// Returns the type URL of the message, for example `/remes.remes.v1.MsgClaimTask`.
            pub fn type_url(&self) -> &'static str {
                match self {
                    $($(Self::$arm(_) => concat!("/", $package, ".", stringify!($name)),)*)*
                    $(Self::$foreign(..) => $url,)*
                }
            }

            /// Returns the address of the account in whose name the message is sent. This account must sign the
            /// transaction. If the message is inside a `MsgExec`, the sender of the `MsgExec` signs instead, and must
            /// have this account's permission (a grant) to send such messages.
            #[expect(unused_variables, reason = "an arm's values that do not name the signer")]
            pub fn signer(&self) -> &str {
                match self {
                    $($(Self::$arm(message) => &message.$signer,)*)*
                    $(Self::$foreign($($value),+) => &$granter $(.$part)*,)*
                }
            }

            /// Returns whether a `MsgExec` may carry messages with this type URL.
            fn is_allowed_in_exec(url: &str) -> bool {
                $($(
                    if url == concat!("/", $package, ".", stringify!($name)) {
                        return false $(|| stringify!($exec) == MsgExec::NAME)?;
                    }
                )*)*
                false
            }
        }
    };
}

pub(super) use {messages, payload, protobuf};
