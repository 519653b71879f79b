// Dithers of stochastic rounding, by Threefry-2x32 with 13 rounds; see src/numbers/rng.rs.

fn threefry_round(x: vec2<u32>, left: u32) -> vec2<u32> {
    let first = x.x + x.y;
    return vec2(first, ((x.y << (left & 31u)) | (x.y >> ((32u - left) & 31u))) ^ first);
}

// 64 random bits for a 64-bit key and a 64-bit counter.
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

// The 16-bit dither of element (row, column) for a stream's key. Four columns share a call of Threefry.
fn dither_at(key: vec2<u32>, row: u32, column: u32) -> u32 {
    let words = threefry(key, vec2(row, column >> 2u));
    let word = select(words.x, words.y, (column & 2u) != 0u);
    return (word >> (((column & 1u) << 4u) & 31u)) & 0xffffu;
}

// The dithers of columns 4 · word .. 4 · word + 4.
fn dither_word(key: vec2<u32>, row: u32, word: u32) -> vec4<u32> {
    let words = threefry(key, vec2(row, word));
    return vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
