package demo

import (
	"fmt"
	"math/rand/v2"
)

// phone makes a number that nobody can have: Chinese mobile numbers begin with 13 to 19, never with 120.
func phone(no int) string { return fmt.Sprintf("1200000%04d", no) }

// Names are put together from parts, so that any likeness to a person or company is chance.
var (
	surnames = []string{
		"王", "李", "张", "刘", "陈", "杨", "黄", "赵", "吴", "周", "徐", "孙", "马", "朱", "胡", "郭", "何", "林", "高", "罗",
		"郑", "梁", "谢", "宋", "唐", "许", "韩", "冯", "邓", "曹", "彭", "曾", "肖", "田", "董", "袁", "潘", "蒋", "蔡", "余",
	}
	givenNames = []string{
		"伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "秀英", "霞", "平",
		"建国", "桂英", "志强", "海燕", "晓东", "雪梅", "文斌", "玉兰", "子涵", "思远", "雨桐", "浩然", "欣怡", "俊杰", "梦琪", "嘉豪",
	}
	shopNames = []string{
		"青柠", "云上", "老街", "拾光", "南山", "小满", "半亩", "长风", "木槿", "稻香", "星河", "朝露", "知味", "墨白", "白鹭", "橘子",
		"山月", "归途", "晨曦", "茉莉",
	}
	trades = []string{"餐厅", "便利店", "咖啡馆", "服装店", "书店", "理发店", "面馆", "茶室", "健身房", "培训中心", "药房", "花店"}
)

// namer gives out names, none of them twice.
type namer struct {
	random *rand.Rand
	used   map[string]bool
}

func newNamer(seed int64) *namer {
	return &namer{random: newRandom(seed, "names"), used: map[string]bool{}}
}

func (n *namer) person() string {
	return n.fresh(func() string { return pick(n.random, surnames) + pick(n.random, givenNames) })
}

func (n *namer) company() string {
	return n.fresh(func() string { return pick(n.random, shopNames) + pick(n.random, trades) })
}

func (n *namer) fresh(name func() string) string {
	for {
		if s := name(); !n.used[s] {
			n.used[s] = true
			return s
		}
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// newRandom is a source of its own for each purpose, so that a change in one doesn't shift the others.
func newRandom(seed int64, purpose string) *rand.Rand {
	var mixed uint64 = 14695981039346656037 // FNV-1a
	for _, b := range []byte(purpose) {
		mixed = (mixed ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(uint64(seed), mixed)) //nolint:gosec // a demo must be repeatable
}
