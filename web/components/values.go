package components

import "time"

// iso is the machine form of an instant for datetime attributes; empty for none.
func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// icons are strokes on a 24 px grid, drawn for this project.
var icons = map[string]string{
	"today":       "M4 11 12 4l8 7v9h-5v-6H9v6H4z",
	"cycles":      "M4 12a8 8 0 0 1 14-5.3M20 12a8 8 0 0 1-14 5.3M18 3v4h-4M6 21v-4h4",
	"exceptions":  "M12 4 2.5 20h19zM12 10v4M12 17v.1",
	"runs":        "M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6",
	"reports":     "M5 3h10l4 4v14H5zM9 17v-4M12 17v-7M15 17v-3",
	"recharges":   "M3 7h18v12H3zM3 11h18M7 15h4",
	"accounts":    "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 20c1-4 4-6 8-6s7 2 8 6",
	"meters":      "M4 17a8 8 0 1 1 16 0zM12 17l4-6",
	"gateways":    "M3 13h18v7H3zM7 16.5v.1M11 16.5h6M12 13V9M8.5 6.5a5 5 0 0 1 7 0M6 4a8.5 8.5 0 0 1 12 0",
	"areas":       "M12 3c4 5 6 8 6 11a6 6 0 0 1-12 0c0-3 2-6 6-11z",
	"cutoffs":     "M12 3v9M6.5 6.5a8 8 0 1 0 11 0",
	"messages":    "M4 5h16v11H9l-5 4z",
	"rounds":      "M8 4a3 3 0 1 1 .1 0zM5 21l3-7-2-4 4-2 3 4h4M11 14l3 7",
	"trace":       "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
	"tariffs":     "M4 20V10h4v10zM10 20V4h4v16zM16 20v-7h4v7z",
	"sites":       "M4 21V5l8-2v18M12 9h8v12M2 21h20M8 8v.1M8 12v.1M8 16v.1M16 13v.1M16 17v.1",
	"users":       "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2 20c.6-3.6 3-6 7-6s6.4 2.4 7 6M16 4.5a3.5 3.5 0 0 1 0 6M18 14c2.2.7 3.6 2.7 4 6",
	"more":        "M6 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM13 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM20 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0z",
	"down":        "m7 10 5 5 5-5",
	"globe":       "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
	"clock":       "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
	"protect":     "M12 3 5 6v6c0 4.5 3 7.5 7 9 4-1.5 7-4.5 7-9V6z",
	"cash":        "M3 6h18v12H3zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM6 9v.1M18 15v.1",
	"print":       "M7 9V4h10v5M7 17H4v-8h16v8h-3M7 14h10v6H7z",
	"batches":     "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM14 17l2.5 2.5L21 14",
	"corrections": "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
	"plans":       "M4 5h16v16H4zM4 10h16M8 3v4M16 3v4M8 14h3M8 17h6",
	"adjustments": "M12 4v16M5 8h14M5 8l-3 6h6zM19 8l-3 6h6z",
}

func iconPath(name string) string {
	if d, ok := icons[name]; ok {
		return d
	}
	return "M12 12v.1"
}
