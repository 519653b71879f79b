//! Tests of the encodings that a transaction may have.

use super::*;

/// Returns the encoded message `bytes` after `change` has been applied to the messages nested in it at `path`. The path
/// consists of field numbers, from the outermost message inward.
fn edited(bytes: &[u8], path: &[u32], change: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((wanted, inner)) = path.split_first() else { return change(bytes) };
    let (mut out, mut rest, mut found) = (Vec::new(), bytes, false);
    while !rest.is_empty() {
        let field = rest;
        let (number, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
        let mut content = rest;
        prost::encoding::skip_field(wire_type, number, &mut rest, Default::default()).unwrap();
        if number == *wanted {
            prost::encoding::decode_varint(&mut content).unwrap();
            let content = edited(&content[..content.len() - rest.len()], inner, change);
            prost::encoding::bytes::encode(number, &content, &mut out);
            found = true;
        } else {
            out.extend(&field[..field.len() - rest.len()]);
        }
    }
    assert!(found, "no field {path:?}");
    out
}

/// Signs the two parts of a transaction (the body, and the signer information) in the mode `SIGN_MODE_DIRECT`, even if
/// they are malformed.
fn sign_direct(body_bytes: &[u8], auth_info_bytes: &[u8]) -> Vec<u8> {
    let (body_bytes, auth_info_bytes) = (body_bytes.to_vec(), auth_info_bytes.to_vec());
    let unsigned = Unsigned { body_bytes: body_bytes.clone(), auth_info_bytes: auth_info_bytes.clone() };
    let document = SignDoc { body_bytes, auth_info_bytes, chain_id: CHAIN.to_owned(), account_number: 0 };
    unsigned.assemble(key().sign_bytes(&document.encode_to_vec()).unwrap()).unwrap()
}

/// Makes two changes to the encoding of a transaction's body (or of its signer information, if `in_auth_info` is true),
/// and checks whether the changed transactions are accepted. Both changes affect the nested message at `path`, a list
/// of field numbers.
///
/// The first change inserts the encoded field `default` at the beginning of the message. This does not change the
/// content, because the field has its default value or is overwritten by a later field. If the changed transaction is
/// signed anew, it must be accepted with the same content; with the old signature, it must be refused.
///
/// The second change adds an unknown field to the end of the message. The transaction must be refused, unless a reader
/// may ignore this field.
fn check_other_encodings(messages: &[Message], in_auth_info: bool, path: &[u32], default: [u8; 2]) {
    let fee = Fee { amount: 7, granter: None };
    let direct = Unsigned::new(&key().public_key(), 41, &fee, messages).unwrap();
    let good = Signed::open(&sign_direct(&direct.body_bytes, &direct.auth_info_bytes), CHAIN).unwrap();
    let change = |unsigned: &Unsigned, change: &dyn Fn(&[u8]) -> Vec<u8>| {
        let Unsigned { mut body_bytes, mut auth_info_bytes } = unsigned.clone();
        let part = if in_auth_info { &mut auth_info_bytes } else { &mut body_bytes };
        *part = edited(part, path, change);
        Unsigned { body_bytes, auth_info_bytes }
    };
    let with_default = |bytes: &[u8]| [&default[..], bytes].concat();
    let signed_anew = |changed: &Unsigned| {
        let signed = Signed::open(&sign_direct(&changed.body_bytes, &changed.auth_info_bytes), CHAIN);
        // the size differs
        signed.map(|signed| Signed { bytes: good.bytes, ..signed })
    };

    let changed = change(&direct, &with_default);
    assert_eq!(signed_anew(&changed).as_ref(), Ok(&good), "{path:?}");
    for number in [99, 1024 + 9] {
        let with_unknown = |bytes: &[u8]| {
            let mut field = Vec::new();
            prost::encoding::bytes::encode(number, &vec![1], &mut field);
            [bytes, &field].concat()
        };
        let refused = signed_anew(&change(&direct, &with_unknown));
        let is_ignored = !in_auth_info && path.is_empty() && number > 1024;
        match refused {
            Ok(read) if is_ignored => assert_eq!(read, good),
            Err(TxError::Malformed(log)) if log.ends_with(&format!("unknown field with the number {number}")) => {}
            refused => panic!("{path:?}: {refused:?}"),
        }
    }

    // if somebody else changes the encoding of a signed transaction, its signature is wrong or, in the other sign mode,
    // its encoding is not canonical
    let forged = |unsigned: &Unsigned| {
        let signature = key().sign_bytes(&unsigned.sign_bytes(CHAIN).unwrap()).unwrap();
        assert!(Signed::open(&unsigned.clone().assemble(signature.clone()).unwrap(), CHAIN).is_ok());
        Signed::open(&change(unsigned, &with_default).assemble(signature).unwrap(), CHAIN).unwrap_err()
    };
    assert_eq!(forged(&direct), TxError::Signature(key().address().to_owned()), "{path:?}");
    let refused = forged(&direct.in_amino().unwrap());
    assert!(matches!(&refused, TxError::Malformed(log) if log.contains("canonical")), "{path:?}: {refused:?}");
}

/// Checks that default values may be written or omitted wherever the signature covers them, and that unknown fields are
/// refused. The only exceptions are non-critical unknown fields of the body itself, which are ignored.
#[test]
fn signed_bytes_may_have_any_encoding_without_unknown_fields() {
    let own = || key().address().to_owned();
    let one = [claim(&own())];
    // AuthInfo, SignerInfo, Any, ModeInfo, ModeInfo.Single, Fee, Coin
    check_other_encodings(&one, true, &[], [0x12, 0]);
    check_other_encodings(&one, true, &[1], [0x18, 0]);
    check_other_encodings(&one, true, &[1, 1], [0x0a, 0]);
    check_other_encodings(&one, true, &[1, 2], [0x0a, 0]);
    check_other_encodings(&one, true, &[1, 2, 1], [0x08, 0]);
    check_other_encodings(&one, true, &[2], [0x1a, 0]);
    check_other_encodings(&one, true, &[2, 1], [0x0a, 0]);
    // TxBody and Any
    check_other_encodings(&one, false, &[], [0x18, 0]);
    check_other_encodings(&one, false, &[1], [0x0a, 0]);

    let message = |message: Message, path: &[u32], default| {
        check_other_encodings(&[message], false, &[&[1, 2], path].concat(), default);
    };
    let send = || Message::Send(Transfer { from: own(), to: other().address().to_owned(), amount: 5 });
    message(send(), &[3], [0x0a, 0]);
    // Grant, Any, GenericAuthorization, Timestamp
    let [grant, _, allowance] = &session().grant()[..] else { unreachable!() };
    message(grant.clone(), &[3], [0x0a, 0]);
    message(grant.clone(), &[3, 1], [0x0a, 0]);
    message(grant.clone(), &[3, 1, 2], [0x0a, 0]);
    message(grant.clone(), &[3, 2], [0x08, 0]);
    // Any, AllowedMsgAllowance, Any, BasicAllowance, Coin, Timestamp
    message(allowance.clone(), &[3], [0x0a, 0]);
    message(allowance.clone(), &[3, 2], [0x0a, 0]);
    message(allowance.clone(), &[3, 2, 1], [0x0a, 0]);
    message(allowance.clone(), &[3, 2, 1, 2], [0x12, 0]);
    message(allowance.clone(), &[3, 2, 1, 2, 1], [0x0a, 0]);
    message(allowance.clone(), &[3, 2, 1, 2, 2], [0x08, 0]);
    let exec = Message::Exec(own(), vec![claim(other().address())]);
    message(exec.clone(), &[2], [0x0a, 0]);
    message(exec, &[2, 2], [0x10, 0]);
    let resources = Some(NodeResources { cpu_cores: 2, ..Default::default() });
    let register =
        MsgRegisterNode { node_address: own(), node_type: 3, resources, roles: vec![1], ..Default::default() };
    message(Message::RegisterNode(register), &[3], [0x08, 0]);

    // every type of message, each of which begins with an address
    for row in include_str!("../../../tests/data/cosmjs_amino.tsv").lines() {
        let tx = BASE64.decode(row.rsplit('\t').next().unwrap()).unwrap();
        let signed = Signed::open(&tx, CHAIN).unwrap();
        check_other_encodings(&signed.messages, false, &[1, 2], [0x0a, 0]);
    }

    // the sign mode of a multisignature contains further sign modes, which may again be those of multisignatures
    let field = |number, content: &[u8]| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(number, &content.to_vec(), &mut field);
        field
    };
    let nested = |depth| (0..depth).fold(vec![0x0a, 2, 0x08, 0], |mode, _| field(2, &field(2, &mode)));
    let deep = |depth| {
        let direct = Unsigned::new(&key().public_key(), 41, &Fee::default(), &one).unwrap();
        let info = edited(&direct.auth_info_bytes, &[1, 2], &|_| nested(depth));
        Signed::open(&sign_direct(&direct.body_bytes, &info), CHAIN).unwrap_err().to_string()
    };
    assert!(deep(0).contains("sign mode"));
    assert!([1, 40].map(deep).iter().all(|error| error.contains("AuthInfo has an unknown field")));

    // the key inside the signer information has one encoding, and a packed list may be written as single numbers
    let direct = Unsigned::new(&key().public_key(), 41, &Fee::default(), &one).unwrap();
    let info = edited(&direct.auth_info_bytes, &[1, 1, 2], &|key| [&[0x0a, 0], key].concat());
    assert_eq!(Signed::open(&sign_direct(&direct.body_bytes, &info), CHAIN), Err(TxError::Key));
    let commit = MsgCommitAggregation { proposer: own(), gradient_ids: vec![1, 300], ..Default::default() };
    let messages = [Message::CommitAggregation(commit)];
    let Unsigned { body_bytes, auth_info_bytes } =
        Unsigned::new(&key().public_key(), 41, &Fee::default(), &messages).unwrap();
    let unpacked = edited(&body_bytes, &[1, 2], &|bytes| {
        let at = bytes.iter().rposition(|byte| *byte == 0x22).unwrap();
        [&bytes[..at], &[0x20, 1, 0x20, 0xac, 2]].concat()
    });
    assert_ne!(unpacked, body_bytes);
    assert_eq!(Signed::open(&sign_direct(&unpacked, &auth_info_bytes), CHAIN).unwrap().messages, messages);
}
