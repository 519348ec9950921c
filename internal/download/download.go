// Package download hands out a file while it is being made, so that one of any size needs little memory. It owns what a browser is told about
// the file, and what happens when the making fails: before the first bytes left it is an ordinary refusal; later the connection is
// cut, so that nobody takes half a file for a whole one. It refuses to know what is in it.
package download

import (
	"bufio"
	"io"
	"mime"
	"net/http"
)

// File is what a browser is told. A file that browsers show themselves, such as a PDF, is Inline.
type File struct {
	Name        string
	ContentType string
	Inline      bool
}

// held is how much is made before anything is sent, in bytes.
const held = 32 << 10

// Send answers a request with the file that write makes. It returns an error only when nothing was sent yet.
func Send(w http.ResponseWriter, f File, write func(io.Writer) error) error {
	s := &sender{w: w, file: f}
	b := bufio.NewWriterSize(s, held)
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	if err != nil && s.begun {
		panic(http.ErrAbortHandler) // the documented way to cut the connection
	}
	return err
}

type sender struct {
	w     http.ResponseWriter
	file  File
	begun bool
}

// Write sends a piece, with the head before the first.
func (s *sender) Write(b []byte) (int, error) {
	if !s.begun {
		s.begun = true
		how := "attachment"
		if s.file.Inline {
			how = "inline"
		}
		h := s.w.Header()
		h.Set("Content-Type", s.file.ContentType)
		h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": s.file.Name}))
	}
	return s.w.Write(b)
}
