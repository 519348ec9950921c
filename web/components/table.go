package components

// cellClass and cellLabel take what a cell needs from its column, if there is one: a row with more cells than columns is a
// slip of a page, not a reason to fail.
func cellClass(cols []Col, i int) string {
	if i >= len(cols) {
		return ""
	}
	class := string(cols[i].Align)
	if cols[i].WideOnly {
		class += " only-wide"
	}
	if cols[i].Lead {
		class += " lead"
	}
	if cols[i].Whole {
		class += " whole"
	}
	return class
}

func cellLabel(cols []Col, i int) string {
	if i >= len(cols) {
		return ""
	}
	if cols[i].Unit != "" {
		return cols[i].Label + " (" + cols[i].Unit + ")"
	}
	return cols[i].Label
}
