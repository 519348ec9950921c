package api

// Part is one part of a list that is read from row to row: next is what to give as "after" for the following part.
type Part[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Give it as 'after' for the next part; absent at the end."`
}

// partOf turns store rows into what the API gives.
func partOf[R, T any](rows []R, next string, view func(R) T) *body[Part[T]] {
	p := Part[T]{Items: make([]T, 0, len(rows)), Next: next}
	for _, r := range rows {
		p.Items = append(p.Items, view(r))
	}
	return &body[Part[T]]{p}
}
