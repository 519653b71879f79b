//! The macros that declare the messages in the table of [`messages`](super::messages).

/// Declares protobuf structs of a package: `field: Rust type = prost's kind "tag"`.
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
    )*};
}

/// The type of an arm's payload: the struct, or a box of it.
macro_rules! payload {
    ($name:ident) => { $name };
    ($name:ident $boxed:ident) => { $boxed<$name> };
}

/// Declares [`Message`](super::Message) from one entry per message.
///
/// An entry of a `package` also declares the message's struct: `Arm(Struct) signed by FIELD { fields }`, or `Arm(Struct
/// in Box)` for a large one. `checked by METHOD` names the method that checks a decoded message, given the chain id;
/// `allowed in MsgExec` permits the message there. An entry of `foreign` is a message of the Cosmos SDK: `read by`
/// names the function that makes the arm's values from the bytes and the chain id, `written by` the one that makes an
/// `Any` of the values.
macro_rules! messages {
    (
        $(package $package:literal {$(
            $(#[$doc:meta])*
            $arm:ident($name:ident $(in $boxed:ident)?) signed by $signer:ident
            $(, checked by $check:ident)? $(, allowed in $exec:ident)? { $($fields:tt)* }
        )*})*
        foreign {$(
            $(#[$foreign_doc:meta])*
            $foreign:ident($($value:ident: $type:ty),+) = $url:literal,
            signed by $granter:ident $(.$part:ident)*, read by $read:path, written by $write:path;
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
            /// Reads a message of a transaction. Signatures of statements inside the message are verified.
            pub(super) fn read(any: &Any, chain_id: &str) -> Result<Self, TxError> {
                let (url, value) = (any.type_url.as_str(), &*any.value);
                $($(
                    if url == concat!("/", $package, ".", stringify!($name)) {
                        let message: $name = decode(value)?;
                        $(message.$check(chain_id)?;)?
                        return Ok(Self::$arm(message.into()));
                    }
                )*)*
                $(
                    if url == $url {
                        #[allow(unused_parens, reason = "an arm of one value")]
                        let ($($value),+) = $read(value, chain_id)?;
                        return Ok(Self::$foreign($($value),+));
                    }
                )*
                Err(TxError::UnknownMessage(url.chars().take(64).collect()))
            }

            /// Returns the message as a transaction carries it.
            pub fn to_any(&self) -> Any {
                match self {
                    $($(Self::$arm(message) => {
                        Any { type_url: self.type_url().to_owned(), value: message.encode_to_vec() }
                    })*)*
                    $(Self::$foreign($($value),+) => $write($($value),+),)*
                }
            }

            /// Returns the type URL of the message, like `/remes.remes.v1.MsgClaimTask`.
            pub fn type_url(&self) -> &'static str {
                match self {
                    $($(Self::$arm(_) => concat!("/", $package, ".", stringify!($name)),)*)*
                    $(Self::$foreign(..) => $url,)*
                }
            }

            /// Returns the address that must sign the message; inside a `MsgExec`, the address that must have granted
            /// it.
            #[expect(unused_variables, reason = "an arm's values that do not name the signer")]
            pub fn signer(&self) -> &str {
                match self {
                    $($(Self::$arm(message) => &message.$signer,)*)*
                    $(Self::$foreign($($value),+) => &$granter $(.$part)*,)*
                }
            }

            /// Returns whether a `MsgExec` may carry messages of a type URL.
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
