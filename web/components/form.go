package components

import (
	"slices"
	"strconv"

	"github.com/a-h/templ"
)

func fieldID(f Field) string {
	if f.scope == "" {
		return "f-" + f.Name
	}
	return f.scope + "-" + f.Name
}

// scoped gives the fields of one form ids of their own; their names, which are posted, stay.
func scoped(fields []Field, form string) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		f.scope = form
		out[i] = f
	}
	return out
}

// inputAttrs are the attributes that all boxes share. The errors and hints are tied to the box for screen readers.
func inputAttrs(f Field) templ.Attributes {
	a := templ.Attributes{"id": fieldID(f), "name": f.Name}
	switch f.Kind {
	case SelectField, AreaField:
	case MoneyField, QuantityField:
		// Not type=number: that drops what it can't parse, steps on the wheel and hides a third decimal from the server.
		a["type"], a["inputmode"], a["autocomplete"] = "text", "decimal", "off"
	default:
		a["type"] = string(f.Kind)
	}
	a["required"], a["autofocus"], a["readonly"] = f.Required, f.Focus, f.ReadOnly
	if f.Placeholder != "" {
		a["placeholder"] = f.Placeholder
	}
	if f.Autocomplete != "" {
		a["autocomplete"] = f.Autocomplete
	}
	if f.MaxLength > 0 {
		a["maxlength"] = strconv.Itoa(f.MaxLength)
	}
	switch {
	case f.Error != "":
		a["aria-invalid"], a["aria-describedby"] = "true", fieldID(f)+"-error"
	case f.Hint != "":
		a["aria-describedby"] = fieldID(f) + "-hint"
	}
	return a
}

// refused says that the form, or a field of it, was just refused.
func (a Action) refused() bool {
	return a.Error != "" || slices.ContainsFunc(a.Fields, func(f Field) bool { return f.Error != "" })
}

// quietUnless keeps one primary button per form: further answers are quiet unless they are dangerous.
func quietUnless(t Tone) Tone {
	if t == Danger {
		return Danger
	}
	return Watch
}
