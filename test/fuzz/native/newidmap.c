/* newuidmap's arguments, cut out of a map; and its words, which are its own. */
#include "fuzz.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct fuzz_source source;

static ssize_t fuzz_read(int fd, void *buffer, size_t size)
{
	MUST(fd == 77);
	return fuzz_source_read(&source, buffer, size);
}

#define read fuzz_read
#include "userns/newidmap.c"

static void check_words(const uint8_t *data, size_t size)
{
	struct newidmap *helper = calloc(1, sizeof *helper);
	char *text = fuzz_text(data, size);
	char *copy = strdup(text);
	size_t expected = 0;
	char *rest = copy;

	if (helper == NULL || copy == NULL) abort();
	for (const char *word; (word = strsep(&rest, " \n")) != NULL;) expected += word[0] != '\0';
	helper->program = "/usr/bin/newuidmap";
	if (cut(helper, text)) {
		size_t count = 0;

		while (helper->arguments[count] != NULL) count++;
		MUST(count == expected + 2);
		for (size_t i = 2; i < count; i++) {
			MUST(helper->arguments[i][0] != '\0' && strpbrk(helper->arguments[i], " \n") == NULL);
		}
	} else MUST(expected > NEWIDMAP_ARGUMENTS - 3);
	free(copy);
	free(text);
	free(helper);
}

static void check_said(const uint8_t *data, size_t size)
{
	char *said = malloc(SAID_BYTES);
	size_t length = 0;
	size_t told;

	if (said == NULL) abort();
	said[0] = '\0';
	source = fuzz_source_of(data, size);
	told = source.size;
	while (take(77, said, &length)) MUST(length < SAID_BYTES && said[length] == '\0');
	MUST(source.size == 0); /* it is heard out */
	MUST(length == (told < SAID_BYTES ? told : SAID_BYTES - 1));
	MUST(length == 0 || memcmp(said, data + 3, length) == 0);
	free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_words(data, size);
	check_said(data, size);
	return 0;
}
