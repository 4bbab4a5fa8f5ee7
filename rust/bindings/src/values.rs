//! Values' bytes in Python: buffers over the memory that they are in, without a copy.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use ferroflow_define::value::{self, Item};
use ferroflow_live::LARGE;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOSError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The extension type of a part's place.
const PART: i8 = 7;

/// What processors like data to begin at a multiple of.
const ALIGNED: usize = 64;

/// MessagePack that nobody changes. Long ones are in a sealed file, which other processes can be given.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Bytes {
    pub(crate) inner: ferroflow_live::Bytes,
    /// The file, once somebody has asked for it: it stays open as long as this lives.
    file: OnceLock<(Arc<OwnedFd>, usize)>,
}

impl From<ferroflow_live::Bytes> for Bytes {
    fn from(inner: ferroflow_live::Bytes) -> Self {
        Self { inner, file: OnceLock::new() }
    }
}

impl Bytes {
    fn in_file(&self, py: Python<'_>) -> PyResult<&(Arc<OwnedFd>, usize)> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let made = py.detach(|| self.inner.to_file())?;
        let file = made.file().ok_or_else(|| PyOSError::new_err("no file of memory can be kept open"))?;
        Ok(self.file.get_or_init(|| file))
    }
}

#[pymethods]
impl Bytes {
    /// Puts a value together: MessagePack in which parts have places, the extension type 7 with their
    /// numbers, and for each part what stands before its data, as a function of where that begins, and
    /// the data. Those of the first part are aligned wherever they are; its function gets None.
    #[new]
    fn new(
        py: Python<'_>,
        packed: &Bound<'_, PyBytes>,
        parts: Vec<(Bound<'_, PyAny>, PyBuffer<u8>)>,
    ) -> PyResult<Self> {
        let packed = packed.as_bytes();
        let mut heads: Vec<Bound<'_, PyBytes>> = Vec::with_capacity(parts.len());
        let mut cuts = vec![];
        let (mut at, mut from, mut len) = (0, 0, 0);
        let mut margin = 0;
        let taken = || PyValueError::new_err("the extension type 7 is the engine's own");
        while at < packed.len() {
            let (item, next) =
                value::item(packed, at).map_err(|error| PyValueError::new_err(error.to_string()))?;
            if let Item::Ext(PART, number) = item {
                let (head, data) = parts.get(cuts.len()).ok_or_else(taken)?;
                if number != (cuts.len() as u32).to_be_bytes() {
                    return Err(taken());
                }
                len += at - from;
                let place = (!cuts.is_empty()).then_some(margin + len);
                let head = head.call1((place,))?.cast_into::<PyBytes>()?;
                len += head.as_bytes().len();
                if cuts.is_empty() {
                    margin = len.next_multiple_of(ALIGNED) - len;
                }
                len += data.len_bytes();
                heads.push(head);
                cuts.push(from..at);
                from = next;
            }
            at = next;
        }
        if cuts.len() != parts.len() {
            return Err(taken());
        }
        len += packed.len() - from;
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(3 * parts.len() + 2);
        pieces.push(&[0; ALIGNED][..margin]);
        for ((cut, head), (_, data)) in cuts.into_iter().zip(&heads).zip(&parts) {
            if !data.is_c_contiguous() {
                return Err(PyBufferError::new_err("the data of a part are not in one piece"));
            }
            // SAFETY: the buffer is held until the end of this function, and so many bytes long. Another
            // thread may write to it meanwhile only where the interpreter is let go of below, and there
            // nothing but the kernel reads what this points to.
            let data = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), data.len_bytes()) };
            pieces.extend([&packed[cut], head.as_bytes(), data]);
        }
        pieces.push(&packed[from..]);
        let sealed =
            if len < LARGE { None } else { py.detach(|| ferroflow_live::Bytes::sealed(&pieces).ok()) };
        let made = sealed.unwrap_or_else(|| pieces.concat().into());
        Ok(made.slice(margin..margin + len).into())
    }

    /// The bytes of a sealed file that another process has made. The descriptor stays the caller's.
    #[staticmethod]
    fn open(fd: i32, offset: usize, length: usize) -> PyResult<Self> {
        if fd < 0 {
            return Err(PyValueError::new_err(format!("{fd} is no descriptor")));
        }
        // SAFETY: it is used only to make a descriptor of our own, which fails if there is none such.
        let file = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        Ok(ferroflow_live::Bytes::open(file, offset, length)?.into())
    }

    /// The descriptor of the sealed file that holds the bytes, from `offset` on; it is open as long as
    /// this object is there. The file is made if there is none.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.in_file(py)?.0.as_raw_fd())
    }

    #[getter]
    fn offset(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.in_file(py)?.1)
    }

    /// Memory of the caller's own with what a view of these bytes shows; None where a copy is cheaper.
    fn private(&self, view: PyBuffer<u8>) -> Option<Private> {
        let from = (view.buf_ptr() as usize).checked_sub(self.inner.as_ptr() as usize)?;
        let range = from..from.checked_add(view.len_bytes())?;
        self.inner.private(range).map(|inner| Private { inner })
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: i32) -> PyResult<()> {
        let bytes: &[u8] = &slf.get().inner;
        let start = bytes.as_ptr().cast_mut();
        // SAFETY: the bytes stay where they are as long as `slf`, which the view holds, and the view
        // can't be written through.
        unsafe { fill(&slf, view, start, bytes.len(), true, flags) }
    }
}

/// Memory that holds a part of a value, and is its holder's to write to.
#[pyclass(frozen, module = "ferroflow._core")]
pub(crate) struct Private {
    inner: ferroflow_live::Private,
}

#[pymethods]
impl Private {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: i32) -> PyResult<()> {
        let inner = &slf.get().inner;
        // SAFETY: the memory is there as long as `slf`, which the view holds; it is mapped for writing,
        // and Rust never looks into it.
        unsafe { fill(&slf, view, inner.as_ptr(), inner.len(), false, flags) }
    }
}

/// Describes memory to whoever asks for a buffer.
///
/// # Safety
/// `view` comes from the interpreter. The memory is there as long as `owner` is, and nobody else uses it
/// unless `readonly`.
unsafe fn fill<T>(
    owner: &Bound<'_, T>,
    view: *mut ffi::Py_buffer,
    start: *mut u8,
    len: usize,
    readonly: bool,
    flags: i32,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("there is no view to fill"));
    }
    // SAFETY: as the caller promises.
    let done = unsafe {
        ffi::PyBuffer_FillInfo(view, owner.as_ptr(), start.cast(), len as isize, readonly.into(), flags)
    };
    if done == 0 { Ok(()) } else { Err(PyErr::fetch(owner.py())) }
}

/// A value that Python hands over, as `bytes` or as `Bytes`.
pub(crate) fn taken(value: &Bound<'_, PyAny>) -> PyResult<ferroflow_live::Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().into());
    }
    match value.cast::<Bytes>() {
        Ok(bytes) => Ok(bytes.get().inner.clone()),
        Err(_) => Err(PyTypeError::new_err("a value is handed over as bytes")),
    }
}

/// Whether bytes are one value and nothing else.
pub(crate) fn whole(bytes: &[u8]) -> Result<(), String> {
    match value::skip(bytes, 0) {
        Ok(end) if end == bytes.len() => Ok(()),
        Ok(end) => Err(format!("goes on for {} bytes after its end", bytes.len() - end)),
        Err(error) => Err(format!("can't be read: {error}")),
    }
}
