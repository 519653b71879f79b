//! Parses amounts of coins, and accounts with their amounts or keys, that are given on the command line.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::ConsensusKey,
    tx::{DENOM, canonical_address},
};

/// Parses a whole number of micro-units, with or without the denomination: `1500000` or `1500000uremes`.
pub(crate) fn micro(text: &str) -> Result<u64, String> {
    let digits = text.strip_suffix(DENOM).unwrap_or(text);
    match digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => digits.parse().map_err(|_| format!("expected a whole number of {DENOM} below 2^64")),
        false => Err(format!("expected a whole number of {DENOM}, without a decimal point or a sign")),
    }
}

/// Parses `ADDRESS=MICRO`, an address and an amount of coins in micro-units.
pub(crate) fn address_and_coins(text: &str) -> Result<(String, u64), String> {
    let (address, amount) = text.split_once('=').ok_or("expected ADDRESS=MICRO: an address, `=`, and micro-units")?;
    Ok((canonical_address(address).map_err(|error| error.to_string())?, micro(amount)?))
}

/// Parses `ADDRESS=KEY`, an address and a public key of CometBFT in base64, as `cometbft show-validator` prints it.
pub(crate) fn address_and_key(text: &str) -> Result<(String, ConsensusKey), String> {
    let (address, key) = text.split_once('=').ok_or("expected ADDRESS=KEY: an address, `=`, and a key in base64")?;
    let bytes = BASE64.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.ok_or("expected the value that `cometbft show-validator` prints: 32 bytes in base64")?;
    Ok((canonical_address(address).map_err(|error| error.to_string())?, ConsensusKey::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_into_lower_case() {
        let address = "remes1jhg0e7s6gn44tfc5k37kr04sznyhedtc6uec2k";
        let read = |address: &str| address_and_coins(&format!("{address}=5"));
        assert_eq!(read(address), Ok((address.to_owned(), 5)));
        assert_eq!(read(&address.to_uppercase()), Ok((address.to_owned(), 5)));
        assert!(read(&address.replacen('r', "R", 1)).is_err());
    }

    #[test]
    fn a_consensus_key_has_32_bytes() {
        let read = |key: &str| address_and_key(&format!("remes1jhg0e7s6gn44tfc5k37kr04sznyhedtc6uec2k={key}"));
        assert_eq!(read(&BASE64.encode([7; 32])).unwrap().1, ConsensusKey::new([7; 32]));
        for wrong in [String::new(), BASE64.encode([7; 31]), BASE64.encode([7; 33]), "!".repeat(44)] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_amount_is_a_whole_number_of_micro_units() {
        assert_eq!((micro("1500000"), micro("7uremes")), (Ok(1_500_000), Ok(7)));
        for wrong in ["", "-1", "+1", "1.5", "1remes", "uremes", "18446744073709551616", "1e3"] {
            assert!(micro(wrong).is_err(), "{wrong}");
        }
    }
}
