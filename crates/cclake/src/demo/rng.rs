//! A generator of our own, so that a seed gives the same bytes whatever version of a crate is around.

/// A version-4 UUID, kept as its number.
pub(super) type Uuid = u128;

/// xoshiro256++ seeded by SplitMix64; integers only, so that no platform's floating point can differ.
#[derive(Clone)]
pub(super) struct Rng([u64; 4]);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// An independent stream for the `index`-th of anything: what one session draws never shifts the next.
    pub(super) fn stream(seed: u64, index: u64) -> Self {
        let mut state = seed ^ index.wrapping_mul(0xD134_2543_DE82_EF95);
        Self::new(split_mix(&mut state))
    }

    pub(super) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound` (0 for a bound of 0).
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both possible.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Mostly near `low`, now and then up to `high`: how sizes and pauses of real work are spread.
    pub(super) fn tail(&mut self, low: u64, high: u64) -> u64 {
        let halvings = self.below(7);
        low + self.below((high.saturating_sub(low) >> halvings) + 1)
    }

    /// `tail` in milliseconds, as a difference of instants.
    pub(super) fn millis(&mut self, low: u64, high: u64) -> i64 {
        i64::try_from(self.tail(low, high)).unwrap_or(0)
    }

    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// One of `items` by weight; the first where all weights are 0.
    pub(super) fn weighted<T: Copy>(&mut self, items: &[(u64, T)]) -> T {
        let mut left = self.below(items.iter().map(|(weight, _)| weight).sum());
        for &(weight, item) in items {
            if left < weight {
                return item;
            }
            left -= weight;
        }
        items[0].1
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        (bits & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    }

    /// `prefix` and `len` letters and digits, as the API's ids look.
    pub(super) fn id(&mut self, prefix: &str, len: usize) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = String::with_capacity(prefix.len() + len);
        id.push_str(prefix);
        while id.len() < prefix.len() + len {
            let mut bits = self.next();
            for _ in 0..10.min(prefix.len() + len - id.len()) {
                id.push(char::from(ALPHABET[(bits % 62) as usize]));
                bits /= 62;
            }
        }
        id
    }

    /// `len` lowercase hexadecimal digits, at most 32.
    pub(super) fn hex(&mut self, len: usize) -> String {
        let digits = format!("{:032x}", self.uuid());
        digits[..len.min(16)].to_owned() + &digits[16..16 + len.saturating_sub(16).min(16)]
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
