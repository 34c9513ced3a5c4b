// Lets Debian's libstdc++ and libgcc, which are built for glibc, run on musl, for the Node.js and the Bun that are linked to musl.
// Test equipment. It is installed as libstdc++.so.6 and needs the real library, so musl finds its functions before its own.
// A constructor would be too late, because those of the real library run before.
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

/** The fields of glibc's locale_t, which libstdc++ reads. musl reads the first ones, and finds the locale "C" there. */
struct glibc_locale {
	const void *categories[13];
	const unsigned short *classes;
	const int *lower;
	const int *upper;
	const char *names[13];
};

static unsigned short classes[384];
static int lower[384], upper[384];
static struct glibc_locale locale;

static int in(const char *ranges, int character) {
	for (; *ranges != '\0'; ranges += 2)
		if (character >= ranges[0] && character <= ranges[1]) return 1;
	return 0;
}

/** The classes of ASCII in the order of glibc's bits, each as pairs of first and last characters. */
static const char *const RANGES[] = {
	"AZ", "az", "AZaz", "09", "09AFaf", "\t\r  ", " ~", "!~", "\t\t  ", "\1\x1f\x7f\x7f", "!/:@[`{~", "09AZaz",
};

EXPORT struct glibc_locale *__newlocale(int mask, const char *name, void *base) {
	(void)mask, (void)name, (void)base;
	for (int character = -128; character < 256; character++) {
		const int index = character + 128;
		lower[index] = in("AZ", character) ? character + 32 : character;
		upper[index] = in("az", character) ? character - 32 : character;
		unsigned short bits = character == 0 ? 1 << 9 : 0;
		for (int bit = 0; bit < 12; bit++)
			if (character > 0 && in(RANGES[bit], character)) bits |= 1 << bit;
		classes[index] = (unsigned short)(bits << 8 | bits >> 8);
	}
	for (int i = 0; i < 13; i++) locale.names[i] = "C";
	locale.classes = classes + 128;
	locale.lower = lower + 128;
	locale.upper = upper + 128;
	return &locale;
}

EXPORT void *__duplocale(void *from) { return from; }
EXPORT void __freelocale(void *from) { (void)from; }

EXPORT char __libc_single_threaded = 0;

EXPORT unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }
EXPORT int fseeko64(FILE *file, off_t offset, int from) { return fseeko(file, offset, from); }
EXPORT off_t ftello64(FILE *file) { return ftello(file); }
EXPORT unsigned arc4random(void) {
	unsigned value = 0;
	if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
	return value;
}
EXPORT size_t __strftime_l(char *text, size_t size, const char *format, const struct tm *time, void *in_locale) {
	(void)in_locale;
	return strftime(text, size, format, time);
}
// No program calls these two. glibc's headers declare the names in other ways, as that of find_object().
EXPORT void format_f128(void) __asm__("strfromf128");
void format_f128(void) { abort(); }
EXPORT void parse_f128(void) __asm__("strtof128");
void parse_f128(void) { abort(); }

/** libgcc has these under an older version only, which musl does not find. Zero: the processor has no feature. */
EXPORT struct {
	unsigned vendor, type, subtype, features[1];
} __cpu_model = {0};
EXPORT int __cpu_indicator_init(void) { return 0; }

/** Destructors of the variables of one thread, the last one first. */
struct destructor {
	void (*call)(void *);
	void *object;
	struct destructor *next;
};
static pthread_key_t destructors;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void destroy(void *first) {
	for (struct destructor *each = first, *next; each != NULL; each = next) {
		next = each->next;
		each->call(each->object);
		free(each);
	}
}
static void make_key(void) { pthread_key_create(&destructors, destroy); }

EXPORT int __cxa_thread_atexit_impl(void (*call)(void *), void *object, void *library) {
	(void)library;
	pthread_once(&once, make_key);
	struct destructor *added = malloc(sizeof *added);
	if (added == NULL) return -1;
	*added = (struct destructor){call, object, pthread_getspecific(destructors)};
	return pthread_setspecific(destructors, added);
}

/** glibc's struct dl_find_object. */
struct found {
	unsigned long long flags;
	void *start, *end, *map, *eh_frame;
	unsigned long long reserved[7];
};
struct search {
	unsigned long address;
	struct found *found;
};

static int look(struct dl_phdr_info *info, size_t size, void *data) {
	(void)size;
	struct search *search = data;
	const ElfW(Phdr) *frame = NULL, *within = NULL;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		const unsigned long offset = search->address - info->dlpi_addr - segment->p_vaddr;
		if (segment->p_type == PT_GNU_EH_FRAME) frame = segment;
		if (segment->p_type == PT_LOAD && offset < segment->p_memsz) within = segment;
	}
	if (within == NULL || frame == NULL) return 0;
	memset(search->found, 0, sizeof *search->found);
	search->found->start = (void *)(info->dlpi_addr + within->p_vaddr);
	search->found->end = (char *)search->found->start + within->p_memsz;
	search->found->eh_frame = (void *)(info->dlpi_addr + frame->p_vaddr);
	return 1;
}

EXPORT int find_object(void *address, struct found *found) __asm__("_dl_find_object");
int find_object(void *address, struct found *found) {
	struct search search = {(unsigned long)address, found};
	return dl_iterate_phdr(look, &search) == 1 ? 0 : -1;
}
