//! Functions that round the results of operations to a number format that is less precise than f64.

/// A function that rounds the result of an operation in place.
pub type Round = fn(&mut [f64]);

/// Leaves the values unchanged, so that they keep the precision of f64.
pub fn exactly(_: &mut [f64]) {}

/// Rounds each value to binary32, and then moves it up or down by one unit in the last place.
///
/// This simulates how floating-point results change with the order of summation, with fused multiply-add instructions,
/// or with another driver. The direction of the move is a function of the value's bits.
pub fn binary32_off_by_one_ulp(values: &mut [f64]) {
    for value in values {
        let single = *value as f32;
        let up = single.to_bits().wrapping_mul(0x9e37_79b9) >> 31 == 0;
        *value = if up { single.next_up() } else { single.next_down() }.into();
    }
}

/// Rounds each value to the nearest bfloat16; ties are rounded to even.
pub fn bfloat16(values: &mut [f64]) {
    for value in values {
        let bits = (*value as f32).to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
        *value = f32::from_bits(rounded).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_their_format() {
        let mut values = [1.0, -1.00390625, 1.01171875, 0.0, std::f64::consts::PI];
        bfloat16(&mut values);
        assert_eq!(values, [1.0, -1.0, 1.015625, 0.0, 3.140625]);
        let mut values = [1.0, -2.5, 1e-3];
        let before = values;
        binary32_off_by_one_ulp(&mut values);
        for (value, before) in values.iter().zip(before) {
            let distance = ((value - before) / before).abs();
            assert!(distance > 2f64.powi(-25) && distance < 2f64.powi(-22), "{value} for {before}");
        }
    }
}
