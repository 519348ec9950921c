// Package pdf writes PDF files as a stream: a page goes out when the next one begins, and the fonts follow at the end with only the
// glyphs that were used. What stays in memory is one page, the used glyphs and some twenty bytes per page, so that all bills of a run
// fit into one file however many they are.
//
// It knows pages, text in TrueType fonts, lines and grey boxes; it refuses images, links and forms, which no document here needs.
//
// Libraries that we found keep every page until the file is written (see docs/adr/0006-libraries.md).
package pdf
