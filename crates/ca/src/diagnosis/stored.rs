//! How what is kept of a visitor lies in the store: names and serial numbers as text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(super) mod name {
    use super::*;
    use crate::device::DeviceName;

    pub(in super::super) fn serialize<S: Serializer>(
        name: &Option<DeviceName>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        name.as_ref().map(DeviceName::as_str).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<DeviceName>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(DeviceName::restored))
    }
}

pub(super) mod serial {
    use super::*;
    use crate::certificate::Serial;

    pub(in super::super) fn serialize<S: Serializer>(serial: &Serial, to: S) -> Result<S::Ok, S::Error> {
        serial.hex().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Serial, D::Error> {
        let text = String::deserialize(from)?;
        Serial::from_hex(&text).ok_or_else(|| de::Error::custom("no serial number"))
    }
}
