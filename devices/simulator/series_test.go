package simulator

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSeriesAreManyDistinctAndUsed(t *testing.T) {
	t.Parallel()
	for _, water := range []bool{false, true} {
		ids, err := SeriesIDs(water)
		require.NoError(t, err)
		require.Len(t, ids, 35)
		seen := map[int64]string{}
		for _, id := range ids {
			s, err := findSeries(water, id)
			require.NoError(t, err)
			require.Zero(t, len(s.slots)%slotsPerDay)
			var sum int64
			used := 0
			for day := range s.days() {
				var today int64
				for _, amount := range s.slots[day*slotsPerDay : (day+1)*slotsPerDay] {
					require.GreaterOrEqual(t, amount, int64(0), id)
					today += amount
				}
				sum += today
				if today > 0 {
					used++
				}
			}
			require.Greater(t, 2*used, s.days(), "%s is used on most days", id)
			require.Empty(t, seen[sum], "%s is a series of its own", id)
			seen[sum] = id
		}
	}
	_, err := findSeries(false, "nobody")
	require.Error(t, err)
}

func TestPublishedGlitchesAreKept(t *testing.T) {
	t.Parallel()
	ids, err := SeriesIDs(true)
	require.NoError(t, err)
	total, deepest := 0, int64(0)
	for _, id := range ids {
		s, err := findSeries(true, id)
		require.NoError(t, err)
		total += len(s.glitches)
		for _, g := range s.glitches {
			require.NotZero(t, g.offset)
			require.LessOrEqual(t, g.from, g.to)
			deepest = min(deepest, g.offset)
		}
	}
	require.Greater(t, total, 20)
	require.Less(t, deepest, int64(-10_000), "the step of -12288 is among them")
}

func TestWaterSeriesSeparatesUseFromMisreading(t *testing.T) {
	t.Parallel()
	s := waterSeries("x", []registerRow{
		{at: 0, litres: 100}, {at: 3600, litres: 110}, {at: 7200, litres: 456_017}, {at: 10800, litres: 130}, {at: 12600, litres: 130},
		{at: 14400, litres: 129}, {at: 18000, litres: 150},
	})
	var sum int64
	for _, litres := range s.slots {
		sum += litres
	}
	require.Equal(t, int64(50), sum)
	require.Equal(t, []int64{5, 5, 5, 5}, s.slots[:4], "the foreign register is left out and bridged")
	require.Len(t, s.glitches, 2)
	require.Equal(t, glitch{from: 7200, to: 10800, offset: 456_017 - 120}, s.glitches[0])
}

func TestLongestRise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 20), 1, 12).Draw(t, "values")
		rows := make([]registerRow, len(values))
		for i, value := range values {
			rows[i] = registerRow{at: int64(i), litres: value}
		}
		chain := longestRise(rows)
		best := 0
		for set := range 1 << len(rows) { // every subset, the slow and certain way
			last, size, rises := int64(-1), 0, true
			for i, row := range rows {
				if set>>i&1 == 1 {
					rises = rises && row.litres >= last
					last = row.litres
					size++
				}
			}
			if rises {
				best = max(best, size)
			}
		}
		require.Len(t, chain, best)
		for i := 1; i < len(chain); i++ {
			require.GreaterOrEqual(t, chain[i].litres, chain[i-1].litres)
			require.Greater(t, chain[i].at, chain[i-1].at)
		}
	})
}

func TestDecimalTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0.201": 201, "3": 3000, "1.5": 1500} {
		got, err := thousandths(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := thousandths("0.2015")
	require.Error(t, err)
	for text, want := range map[string]int64{"4e+05": 400_000, "90348": 90348} {
		got, err := wholeNumber(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = wholeNumber("1.5")
	require.Error(t, err)
}
