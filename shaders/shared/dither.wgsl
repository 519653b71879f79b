// Pseudorandom dithers for stochastic rounding, from Threefry-2x32 with 13 rounds; see src/numbers/rng.rs.

fn threefry_round(x: vec2<u32>, left: u32) -> vec2<u32> {
    let first = x.x + x.y;
    return vec2(first, ((x.y << (left & 31u)) | (x.y >> ((32u - left) & 31u))) ^ first);
}

// Returns 64 pseudorandom bits for a 64-bit key and a 64-bit counter: Threefry-2x32 with 13 rounds.
fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let third = 0x1BD11BDAu ^ key.x ^ key.y;
    var x = counter + key;
    x = threefry_round(threefry_round(threefry_round(threefry_round(x, 13u), 15u), 26u), 6u);
    x += vec2(key.y, third + 1u);
    x = threefry_round(threefry_round(threefry_round(threefry_round(x, 17u), 29u), 16u), 24u);
    x += vec2(third, key.x + 2u);
    x = threefry_round(threefry_round(threefry_round(threefry_round(x, 13u), 15u), 26u), 6u);
    x += vec2(key.x, key.y + 3u);
    return threefry_round(x, 17u);
}

// Returns the 16-bit dither of element (row, column) of the tensor to which `key` belongs. One call of `threefry` gives
// the dithers of four neighboring columns.
fn dither_at(key: vec2<u32>, row: u32, column: u32) -> u32 {
    let words = threefry(key, vec2(row, column >> 2u));
    let word = select(words.x, words.y, (column & 2u) != 0u);
    return (word >> (((column & 1u) << 4u) & 31u)) & 0xffffu;
}

// Returns the 16-bit dithers of columns 4 · word to 4 · word + 3 of a row.
fn dither_word(key: vec2<u32>, row: u32, word: u32) -> vec4<u32> {
    let words = threefry(key, vec2(row, word));
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
