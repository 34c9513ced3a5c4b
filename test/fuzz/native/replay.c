/* Runs a harness without libFuzzer. replay SEED TIMES FILE…: each file unchanged, and TIMES mutations of each. */
#include "fuzz.h"

static uint32_t state;

static uint32_t below(uint32_t end)
{
	state = state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(state >> 4) * end >> 28);
}

static void mutate(uint8_t *data, size_t size)
{
	static const char *const words[] = {"\n", " ", "0", "-", ",", "4294967295", "\nPid:", "\nNSpid:\t", "0-", "\0\0\0\0"};

	for (uint32_t left = 1 + below(4); left > 0 && size > 0; left--) {
		const char *word = words[below(sizeof words / sizeof words[0])];
		size_t at = below((uint32_t)size);

		if (below(2) == 0) data[at] ^= (uint8_t)(1u << below(8));
		else memcpy(data + at, word, strlen(word) < size - at ? strlen(word) : size - at);
	}
}

/* Reads every file before the harness runs, because a harness may replace read(2). */
static uint8_t *load(const char *name, size_t *size)
{
	static uint8_t bytes[1 << 16];
	FILE *file = fopen(name, "rb");
	uint8_t *copy;

	if (file == NULL) {
		perror(name);
		exit(1);
	}
	*size = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	copy = malloc(*size + 1);
	if (copy == NULL) abort();
	memcpy(copy, bytes, *size);
	return copy;
}

int main(int argc, char **argv)
{
	unsigned long inputs = 0;

	if (argc < 3) return 2;
	state = (uint32_t)strtoul(argv[1], NULL, 10);
	for (int i = 3; i < argc; i++) {
		size_t size;
		uint8_t *data = load(argv[i], &size);

		LLVMFuzzerTestOneInput(data, size);
		inputs++;
		for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
			size_t length = below(4) == 0 ? below((uint32_t)size + 1) : size;
			uint8_t *copy = malloc(length + 1);

			if (copy == NULL) abort();
			memcpy(copy, data, length);
			mutate(copy, length);
			LLVMFuzzerTestOneInput(copy, length);
			free(copy);
			inputs++;
		}
		free(data);
	}
	printf("%lu\n", inputs);
	return 0;
}
