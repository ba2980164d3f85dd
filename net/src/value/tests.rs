use super::*;
use proptest::prelude::*;
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f64),
    Rectangle { width: u32, height: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meters(f32);

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) -> Value {
    let encoded = Value::encode(&value).unwrap();
    assert_eq!(encoded.decode::<T>().unwrap(), value);
    assert_eq!(Value::from_bytes(encoded.as_bytes()).unwrap(), encoded);
    assert_eq!(Value::from_json(&encoded.to_json()).unwrap(), encoded);
    let framed = codec::encode(&encoded).unwrap();
    assert_eq!(codec::decode::<Value>(&framed).unwrap(), encoded);
    encoded
}

#[test]
fn every_kind_comes_back_as_it_was() {
    assert_eq!(there_and_back(()).tag(), Tag::Null);
    assert_eq!(there_and_back(true).tag(), Tag::Bool);
    assert_eq!(there_and_back(-5_i8).tag(), Tag::Int);
    assert_eq!(there_and_back(u64::MAX).tag(), Tag::Uint);
    assert_eq!(there_and_back(f64::INFINITY).tag(), Tag::Float);
    assert_eq!(there_and_back('ß').tag(), Tag::Text);
    assert_eq!(there_and_back("text".to_owned()).tag(), Tag::Text);
    assert_eq!(there_and_back(Bytes(vec![0, 255])).tag(), Tag::Bytes);
    assert_eq!(there_and_back(vec![1, 2, 3]).tag(), Tag::Bincode);
    assert_eq!(there_and_back(Shape::Empty).tag(), Tag::Text);
    there_and_back(Shape::Circle(1.5));
    there_and_back(Shape::Rectangle { width: 3, height: 4 });
    assert_eq!(there_and_back(Meters(2.5)).tag(), Tag::Float);
    there_and_back(u128::MAX);
    there_and_back((1, "two".to_owned(), [3.0]));
    there_and_back(None::<i32>);
    there_and_back(Some(7));
    there_and_back(Some(vec![Some(1), None]));
}

/// The reader of JSON took it for the float beside it.
#[test]
fn a_float_in_a_document_is_the_one_that_was_written() {
    let float = -8.099894842536659e152_f64;
    let document = Value::from_json(&json!([float])).unwrap();
    assert_eq!(document.to_json()[0].as_f64().map(f64::to_bits), Some(float.to_bits()));
    assert_eq!(document.decode::<[f64; 1]>().unwrap()[0].to_bits(), float.to_bits());
}

#[test]
fn some_of_none_is_not_none() {
    there_and_back(Some(None::<i32>));
    assert_ne!(Value::encode(&Some(None::<i32>)).unwrap(), Value::encode(&None::<Option<i32>>).unwrap());
}

#[test]
fn an_integer_has_the_same_bytes_whatever_its_width() {
    let five = Value::encode(&5_i8).unwrap();
    assert_eq!(five, Value::encode(&5_u64).unwrap());
    assert_eq!(five, Value::from_json(&json!(5)).unwrap());
    assert_eq!(five.decode::<u16>().unwrap(), 5);
    assert_eq!(five.decode::<f64>().unwrap(), 5.0);
    assert!(matches!(Value::encode(&300).unwrap().decode::<u8>(), Err(CallError::WrongType { .. })));
}

#[test]
fn a_json_document_opens_as_the_users_type() {
    let value = Value::from_json(&json!({"Rectangle": {"width": 3, "height": 4}})).unwrap();
    assert_eq!(value.decode::<Shape>().unwrap(), Shape::Rectangle { width: 3, height: 4 });
    assert_eq!(Value::from_json(&json!([1, 2])).unwrap().decode::<Vec<u8>>().unwrap(), [1, 2]);
}

#[test]
fn a_value_of_another_type_is_a_wrong_type_not_a_panic() {
    let text = Value::encode("text").unwrap();
    assert!(matches!(text.decode::<i64>(), Err(CallError::WrongType { .. })));
    assert!(matches!(text.decode::<Vec<i64>>(), Err(CallError::WrongType { .. })));
    assert!(matches!(Value::bytes(&[7; 9]).decode::<Shape>(), Err(CallError::WrongType { .. })));
}

/// Such a document passed the check and then could not be shown.
#[test]
fn a_json_number_that_nothing_can_hold_is_refused() {
    assert!(Value::from_bytes(b"\x08[1E999]").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_sound_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = Value::from_bytes(&bytes) {
            let _ = value.open();
            let _ = value.to_json();
            let _ = value.decode::<Shape>();
            let _ = value.decode::<Vec<String>>();
            let _ = value.decode::<Option<f64>>();
            prop_assert_eq!(value.as_bytes(), &bytes[..]);
        }
        let _ = codec::decode::<Value>(&bytes);
        let _ = codec::decode::<Vec<Value>>(&bytes);
    }
}
