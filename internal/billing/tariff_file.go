package billing

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ParseTariff reads one tariff file; docs/tariffs.md is its format. A field that is not part of it is refused, because a misspelt one
// would silently drop a part of the price, and so is a field that stands twice. Every refusal names the place: the line, and the path
// of the field, such as versions[0].components[1].price.
func ParseTariff(data []byte) (Tariff, error) {
	var t Tariff
	if err := checkFile(data, reflect.TypeFor[Tariff]()); err != nil {
		return Tariff{}, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return Tariff{}, Errorf(CodeInvalidInput, "The tariff file can't be read: %w", err)
	}
	return t, t.Validate()
}

// WriteTariff is the inverse of ParseTariff: the file of a tariff, ready to be read by people.
func WriteTariff(t Tariff) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(t)
	return out.Bytes(), err
}

// fileChecker walks a JSON text beside the type that it is to become.
type fileChecker struct {
	data []byte
	dec  *json.Decoder
}

func checkFile(data []byte, into reflect.Type) error {
	c := fileChecker{data, json.NewDecoder(bytes.NewReader(data))}
	c.dec.UseNumber()
	if err := c.value(into, ""); err != nil {
		return err
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return c.refuse("", "something follows the tariff: a file holds one")
	}
	return nil
}

// refuse names the line that was read last, and the path.
func (c fileChecker) refuse(path, format string, args ...any) error {
	line := 1 + bytes.Count(c.data[:c.dec.InputOffset()], []byte("\n"))
	place := fmt.Sprintf("line %d", line)
	if path != "" {
		place += ", " + path
	}
	return Errorf(CodeInvalidInput, "The tariff file, %s: %s.", place, fmt.Sprintf(format, args...))
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// value checks the next value of the text.
func (c fileChecker) value(t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := c.dec.Token()
	if err != nil {
		return c.broken(path, err)
	}
	if reflect.PointerTo(t).Implements(textType) {
		return c.text(t, path, token)
	}
	switch delim, _ := token.(json.Delim); {
	case delim == '{' && t.Kind() == reflect.Struct:
		return c.object(t, path)
	case delim == '[' && t.Kind() == reflect.Slice:
		return c.list(t.Elem(), path)
	case delim == '{' || delim == '[':
		return c.refuse(path, "this must be %s", kindWord(t))
	}
	_, isText := token.(string)
	_, isNumber := token.(json.Number)
	_, isBool := token.(bool)
	fits := token == nil || isText && t.Kind() == reflect.String || isNumber && t.Kind() == reflect.Int || isBool && t.Kind() == reflect.Bool
	if !fits {
		return c.refuse(path, "this must be %s", kindWord(t))
	}
	return nil
}

// text checks a value that is written as a text: a price, a date, a band.
func (c fileChecker) text(t reflect.Type, path string, token json.Token) error {
	written, ok := token.(string)
	switch {
	case token == nil:
		return nil
	case !ok:
		return c.refuse(path, `write it as a text in quotes, such as "0.538"`)
	}
	v := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if err := v.UnmarshalText([]byte(written)); err != nil {
		return c.refuse(path, "%s", strings.TrimSuffix(MessageOf(err), "."))
	}
	return nil
}

func (c fileChecker) object(t reflect.Type, path string) error {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields[name] = t.Field(i).Type
	}
	seen := map[string]bool{}
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return c.broken(path, err)
		}
		name, _ := token.(string)
		at := strings.TrimPrefix(path+"."+name, ".")
		field, known := fields[name]
		switch {
		case !known:
			return c.refuse(at, "there is no field %q here", name)
		case seen[name]:
			return c.refuse(at, "the field %q stands twice", name)
		}
		seen[name] = true
		if err := c.value(field, at); err != nil {
			return err
		}
	}
	return c.end(path)
}

func (c fileChecker) list(t reflect.Type, path string) error {
	for i := 0; c.dec.More(); i++ {
		if err := c.value(t, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return c.end(path)
}

func (c fileChecker) end(path string) error {
	_, err := c.dec.Token()
	if err != nil {
		return c.broken(path, err)
	}
	return nil
}

func (c fileChecker) broken(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return c.refuse(path, "the file ends in the middle")
	}
	return c.refuse(path, "this is no JSON (%v)", err)
}

func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "an object in { }"
	case reflect.Slice:
		return "a list in [ ]"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a text in quotes"
	}
}
