use super::*;
use abide_net::codec;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value as Json, json};

fn same(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan()
}

fn read(json: Json) -> Result<Numbers, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

fn there_and_back<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> [T; 2] {
    let text = serde_json::to_string(value).unwrap();
    [serde_json::from_str(&text).unwrap(), codec::decode(&codec::encode(value).unwrap()).unwrap()]
}

proptest! {
    #[test]
    fn numbers_come_back_from_json_and_from_frames(
        integers in vec(any::<i64>(), 0..9),
        floats in vec(prop_oneof![any::<f64>(), Just(-0.0), Just(1.0)], 1..9),
    ) {
        prop_assert_eq!(there_and_back(&Numbers::I64(integers.clone())), [(); 2].map(|()| Numbers::I64(integers.clone())));
        for number in integers {
            prop_assert_eq!(there_and_back(&Number::I64(number)), [Number::I64(number); 2]);
        }
        for back in there_and_back(&Numbers::F64(floats.clone())) {
            let Numbers::F64(back) = back else { panic!("{back:?} of floats") };
            prop_assert_eq!(back.len(), floats.len());
            prop_assert!(back.iter().zip(&floats).all(|(back, float)| same(*back, *float)), "{back:?} of {floats:?}");
        }
        for number in floats {
            for back in there_and_back(&Number::F64(number)) {
                prop_assert!(matches!(back, Number::F64(back) if same(back, number)), "{back:?} of {number}");
            }
        }
    }

    /// Against arithmetic that has room for both kinds.
    #[test]
    fn a_number_changes_its_kind_only_if_it_stays_the_same(integer in any::<i64>(), shift in 0..64_u32, float in any::<f64>()) {
        let integer = integer >> shift;
        if let Some(float) = Number::I64(integer).float() {
            prop_assert_eq!(float as i128, i128::from(integer));
            prop_assert_eq!(Number::F64(float).integer(), Some(integer));
        } else {
            prop_assert!(integer.unsigned_abs() > 1 << 53);
        }
        for float in [float, float.trunc(), integer as f64] {
            if let Some(integer) = Number::F64(float).integer() {
                prop_assert!(float.fract() == 0.0 && float as i128 == i128::from(integer));
            } else {
                prop_assert!(float.fract() != 0.0 || !float.is_finite() || float.abs() > EXACT as f64);
            }
        }
    }
}

#[test]
fn an_array_is_of_floats_if_one_of_them_is() {
    assert_eq!(read(json!([1, -2])), Ok(Numbers::I64(vec![1, -2])));
    assert_eq!(read(json!([1, -2.0])), Ok(Numbers::F64(vec![1.0, -2.0])));
    assert_eq!(read(json!([1, {"$float": "inf"}])), Ok(Numbers::F64(vec![1.0, f64::INFINITY])));
    assert_eq!(read(json!([])), Ok(Numbers::I64(vec![])));
}

#[test]
fn a_number_that_would_become_another_is_refused() {
    assert!(read(json!([u64::MAX])).unwrap_err().contains("18446744073709551615"));
    assert!(read(json!([EXACT + 1, 0.5])).unwrap_err().contains("9007199254740993"));
    assert_eq!(read(json!([EXACT, 0.5])), Ok(Numbers::F64(vec![EXACT as f64, 0.5])));
    assert!(read(json!(["1"])).is_err());
    assert!(read(json!([null])).is_err());
    assert!(read(json!([true])).is_err());
    assert!(read(json!(1)).is_err());
    assert_eq!(Numbers::F64(vec![1.0, 0.5]).integers(), None);
    assert_eq!(Numbers::I64(vec![0, i64::MAX]).floats(), None);
    assert_eq!(Number::F64(f64::NAN).integer(), None);
}
