//! Arrays to and from Python, through the buffer protocol: no copy out, and none in where it can be helped.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use ferroflow_define::graph::{Fault, Indices};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyBufferError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use pyo3::{ffi, intern};

use crate::raise;

/// An array that Python looks at in place.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Column {
    data: Data,
    /// How many elements there are, where a view of them can point to.
    shape: ffi::Py_ssize_t,
}

enum Data {
    Ids(Vec<u32>),
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
}

impl From<Vec<u32>> for Column {
    fn from(data: Vec<u32>) -> Self {
        Self { shape: data.len() as ffi::Py_ssize_t, data: Data::Ids(data) }
    }
}

impl From<Vec<f64>> for Column {
    fn from(data: Vec<f64>) -> Self {
        Self { shape: data.len() as ffi::Py_ssize_t, data: Data::Numbers(data) }
    }
}

impl From<Vec<bool>> for Column {
    fn from(data: Vec<bool>) -> Self {
        Self { shape: data.len() as ffi::Py_ssize_t, data: Data::Flags(data) }
    }
}

/// A view of an array that now belongs to Python.
pub(crate) fn view<'py>(py: Python<'py>, data: impl Into<Column>) -> PyResult<Bound<'py, PyMemoryView>> {
    PyMemoryView::from(Bound::new(py, data.into())?.as_any())
}

#[pymethods]
impl Column {
    fn __len__(&self) -> usize {
        self.shape as usize
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: i32) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        let me = slf.get();
        let (start, size, format) = match &me.data {
            Data::Ids(data) => (data.as_ptr().cast::<u8>(), 4, c"I"),
            Data::Numbers(data) => (data.as_ptr().cast::<u8>(), 8, c"d"),
            Data::Flags(data) => (data.as_ptr().cast::<u8>(), 1, c"?"),
        };
        let start = start.cast_mut().cast();
        // SAFETY: `view` comes from the interpreter. The array stays where it is as long as `slf`, which the
        // view holds, and the view can't be written through. Format and shape live as long as the array;
        // shape is only ever read.
        unsafe {
            if ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, me.shape * size, 1, flags) != 0 {
                return Err(PyErr::fetch(slf.py()));
            }
            (*view).itemsize = size;
            if flags & ffi::PyBUF_FORMAT != 0 {
                (*view).format = format.as_ptr().cast_mut();
            }
            if flags & ffi::PyBUF_ND != 0 {
                (*view).shape = (&raw const me.shape).cast_mut();
            }
        }
        Ok(())
    }
}

/// Node ids from Python: an array of 32 or 64 bit integers in place, anything else copied.
pub(crate) enum Input {
    U32(PyBuffer<u32>),
    I32(PyBuffer<i32>),
    U64(PyBuffer<u64>),
    I64(PyBuffer<i64>),
    Copied(Vec<i64>),
}

fn contiguous<T: Element>(given: &Bound<'_, PyAny>) -> Option<PyBuffer<T>> {
    PyBuffer::<T>::get(given).ok().filter(|it| it.is_c_contiguous() && it.dimensions() == 1)
}

impl<'py> FromPyObject<'_, 'py> for Input {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Some(found) = contiguous(&given) {
            return Ok(Self::U32(found));
        }
        if let Some(found) = contiguous(&given) {
            return Ok(Self::I64(found));
        }
        if let Some(found) = contiguous(&given) {
            return Ok(Self::I32(found));
        }
        if let Some(found) = contiguous(&given) {
            return Ok(Self::U64(found));
        }
        let py = given.py();
        let wrong = |error: PyErr| {
            let kind = given.get_type().name().map_or_else(|_| "?".into(), |it| it.to_string());
            let wrong =
                PyTypeError::new_err(format!("node ids are whole numbers; {kind} has others: {error}"));
            wrong.set_cause(py, Some(error));
            wrong
        };
        let dimensions = given.getattr_opt(intern!(py, "ndim"))?.map(|it| it.extract::<usize>());
        if let Some(Ok(dimensions)) = dimensions
            && dimensions != 1
        {
            return Err(PyTypeError::new_err(format!(
                "node ids are in a row; this array has {dimensions} dimensions"
            )));
        }
        let items = given.try_iter().map_err(wrong)?;
        let mut copied = Vec::new();
        for item in items {
            let item = item?;
            copied.push(
                item.extract().map_err(|error| too_large(&item, &error).unwrap_or_else(|| wrong(error)))?,
            );
        }
        Ok(Self::Copied(copied))
    }
}

/// What is said of a whole number that no node can have, if that is what is wrong.
fn too_large(given: &Bound<'_, PyAny>, wrong: &PyErr) -> Option<PyErr> {
    let py = given.py();
    let message = || format!("there is no node {given}: ids are 0 or more, and less than 2**32 - 2");
    wrong.is_instance_of::<PyOverflowError>(py).then(|| raise(py, "InvalidGraph", message()))
}

/// A node's id from Python.
pub(crate) struct Id(pub(crate) u32);

impl<'py> FromPyObject<'_, 'py> for Id {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        given.extract().map(Self).map_err(|error| too_large(&given, &error).unwrap_or(error))
    }
}

macro_rules! in_place {
    ($buffer:expr, $atomic:ty) => {{
        let (start, len) = ($buffer.buf_ptr().cast::<$atomic>(), $buffer.item_count());
        if len == 0 {
            &[]
        } else {
            // SAFETY: the buffer is contiguous, aligned (`PyBuffer::get` has looked) and stays as long as it is
            // borrowed. Whoever else writes to it meanwhile does not make our reads undefined, because they
            // are atomic; only loads are made, which read-only memory bears.
            unsafe { std::slice::from_raw_parts(start.cast_const(), len) }
        }
    }};
}

impl Input {
    /// Ids as they are: of one kind both, or copied.
    pub(crate) fn both<T: Send>(py: Python<'_>, a: &Self, b: &Self, work: impl Pair<T> + Send) -> T {
        match (a, b) {
            (Self::U32(a), Self::U32(b)) => {
                let (a, b): (&[AtomicU32], &[AtomicU32]) = (in_place!(a, AtomicU32), in_place!(b, AtomicU32));
                py.detach(|| work.with(&Atomics(a), &Atomics(b)))
            }
            (Self::I64(a), Self::I64(b)) => {
                let (a, b): (&[AtomicI64], &[AtomicI64]) = (in_place!(a, AtomicI64), in_place!(b, AtomicI64));
                py.detach(|| work.with(&Atomics(a), &Atomics(b)))
            }
            (Self::I32(a), Self::I32(b)) => {
                let (a, b): (&[AtomicI32], &[AtomicI32]) = (in_place!(a, AtomicI32), in_place!(b, AtomicI32));
                py.detach(|| work.with(&Atomics(a), &Atomics(b)))
            }
            (Self::U64(a), Self::U64(b)) => {
                let (a, b): (&[AtomicU64], &[AtomicU64]) = (in_place!(a, AtomicU64), in_place!(b, AtomicU64));
                py.detach(|| work.with(&Atomics(a), &Atomics(b)))
            }
            (a, b) => {
                let (a, b) = (a.copied(), b.copied());
                py.detach(|| work.with(&Wide(a), &Wide(b)))
            }
        }
    }

    fn copied(&self) -> Vec<i128> {
        fn all(ids: &impl Indices) -> Vec<i128> {
            (0..ids.len()).map(|at| ids.shown(at)).collect()
        }
        match self {
            Self::U32(it) => all(&Atomics::<AtomicU32>(in_place!(it, AtomicU32))),
            Self::I32(it) => all(&Atomics::<AtomicI32>(in_place!(it, AtomicI32))),
            Self::U64(it) => all(&Atomics::<AtomicU64>(in_place!(it, AtomicU64))),
            Self::I64(it) => all(&Atomics::<AtomicI64>(in_place!(it, AtomicI64))),
            Self::Copied(it) => it.iter().map(|&it| it.into()).collect(),
        }
    }

    /// The ids as a graph of so many nodes has them.
    pub(crate) fn ids(&self, nodes: usize) -> Result<Vec<u32>, Fault> {
        fn all(ids: &impl Indices, nodes: usize) -> Result<Vec<u32>, Fault> {
            (0..ids.len())
                .map(|at| match ids.at(at) {
                    id if id < nodes as u64 => Ok(id as u32),
                    _ => Err(Fault::Elsewhere { node: ids.shown(at), nodes }),
                })
                .collect()
        }
        match self {
            Self::U32(it) => all(&Atomics::<AtomicU32>(in_place!(it, AtomicU32)), nodes),
            Self::I32(it) => all(&Atomics::<AtomicI32>(in_place!(it, AtomicI32)), nodes),
            Self::U64(it) => all(&Atomics::<AtomicU64>(in_place!(it, AtomicU64)), nodes),
            Self::I64(it) => all(&Atomics::<AtomicI64>(in_place!(it, AtomicI64)), nodes),
            Self::Copied(_) => all(&Wide(self.copied()), nodes),
        }
    }
}

/// What is done with two arrays of ids.
pub(crate) trait Pair<T> {
    fn with<I: Indices>(self, a: &I, b: &I) -> T;
}

struct Atomics<'a, A>(&'a [A]);

macro_rules! indices {
    ($($atomic:ty),*) => {$(
        impl Indices for Atomics<'_, $atomic> {
            fn len(&self) -> usize {
                self.0.len()
            }

            fn at(&self, place: usize) -> u64 {
                self.0[place].load(Ordering::Relaxed) as u64
            }

            fn shown(&self, place: usize) -> i128 {
                self.0[place].load(Ordering::Relaxed).into()
            }
        }
    )*};
}

indices!(AtomicU32, AtomicI32, AtomicU64, AtomicI64);

struct Wide(Vec<i128>);

impl Indices for Wide {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn at(&self, place: usize) -> u64 {
        u64::try_from(self.0[place]).unwrap_or(u64::MAX)
    }

    fn shown(&self, place: usize) -> i128 {
        self.0[place]
    }
}

/// Numbers from Python, copied.
pub(crate) struct Numbers(pub(crate) Vec<f64>);

impl<'py> FromPyObject<'_, 'py> for Numbers {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(buffer) = PyBuffer::<f64>::get(&given)
            && buffer.dimensions() == 1
        {
            return buffer.to_vec(given.py()).map(Self);
        }
        let items: PyResult<Vec<f64>> = given.try_iter()?.map(|item| item?.extract()).collect();
        items.map(Self)
    }
}

/// A column of a type, or one that converts to it without loss.
fn converted<T: Copy, S: Element>(
    given: &Bound<'_, PyAny>,
    convert: impl Fn(S) -> Option<T>,
    what: &str,
) -> PyResult<Option<Vec<T>>> {
    let Ok(buffer) = PyBuffer::<S>::get(given) else { return Ok(None) };
    let values = buffer.to_vec(given.py())?;
    let made: Option<Vec<T>> = values.iter().map(|&it| convert(it)).collect();
    made.map(Some).ok_or_else(|| PyValueError::new_err(format!("{what} holds a number out of range")))
}

/// Whole numbers from Python, copied.
pub(crate) fn whole<T>(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<T>>
where
    T: Copy + TryFrom<u32> + TryFrom<i32> + TryFrom<u64> + TryFrom<i64>,
{
    if given.len()? == 0 {
        return Ok(Vec::new());
    }
    if let Some(found) = converted(given, |it: u32| T::try_from(it).ok(), what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: i64| T::try_from(it).ok(), what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: u64| T::try_from(it).ok(), what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: i32| T::try_from(it).ok(), what)? {
        return Ok(found);
    }
    Err(PyTypeError::new_err(format!("{what} has to be a buffer of whole numbers of 32 or 64 bits")))
}

/// Numbers of a buffer from Python, copied.
pub(crate) fn real(given: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<f64>> {
    if given.len()? == 0 {
        return Ok(Vec::new());
    }
    if let Some(found) = converted(given, Some::<f64>, what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: f32| Some(f64::from(it)), what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: i64| Some(it as f64), what)? {
        return Ok(found);
    }
    if let Some(found) = converted(given, |it: i32| Some(f64::from(it)), what)? {
        return Ok(found);
    }
    Err(PyTypeError::new_err(format!("{what} has to be a buffer of numbers of 32 or 64 bits")))
}
