#include "addon/create-request.h"
#include "addon/arguments.h"
#include <stdlib.h>
#include <unistd.h>

/* Is told of in one go: the first of them waits for the last. */
#define MOST_IN_ONE_GO (2 * CREATE_MOST)

void creation_free(struct creation *creation)
{
	free(creation->maps[0]);
	free(creation->maps[1]);
	value_free_texts(creation->helpers);
	free(creation);
}

void creation_forget(struct creation *creation)
{
	if (creation->out.fd >= 0) close(creation->out.fd);
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(creation->out.texts[i]);
	creation_free(creation);
}

void creation_list_init(struct create_list *list)
{
	pthread_mutex_init(&list->lock, NULL);
	list->first = NULL;
	list->end = &list->first;
}

void creation_list_destroy(struct create_list *list)
{
	pthread_mutex_destroy(&list->lock);
}

void creation_list_put(struct create_list *list, struct creation *creation)
{
	pthread_mutex_lock(&list->lock);
	*list->end = creation;
	list->end = &creation->next;
	pthread_mutex_unlock(&list->lock);
}

struct creation *creation_list_take(struct create_list *list)
{
	struct creation *creation;

	pthread_mutex_lock(&list->lock);
	creation = list->first;
	if (creation != NULL) list->first = creation->next;
	if (list->first == NULL) list->end = &list->first;
	pthread_mutex_unlock(&list->lock);
	if (creation != NULL) creation->next = NULL;
	return creation;
}

/* Makes that one and what waits, together. Answers the last of them, and their number. */
static struct creation *make_some(struct create_list *list, struct creation *creation, int *count)
{
	const struct create_request *requests[CREATE_MOST];
	struct outcome *outs[CREATE_MOST];

	for (*count = 0;;) {
		requests[*count] = &creation->request;
		outs[*count] = &creation->out;
		if (++*count == CREATE_MOST) break;
		creation->next = creation_list_take(list);
		if (creation->next == NULL) break;
		creation = creation->next;
	}
	create_namespaces(requests, outs, *count);
	return creation;
}

struct creation *creation_list_make(struct create_list *list)
{
	struct creation *first = creation_list_take(list);
	struct creation *creation = first;
	int made = 0;

	while (creation != NULL) {
		int count;

		creation = make_some(list, creation, &count);
		made += count;
		if (made > MOST_IN_ONE_GO - CREATE_MOST) break;
		creation->next = creation_list_take(list);
		creation = creation->next;
	}
	return first;
}

void creation_list_forget(struct create_list *list)
{
	struct creation *creation;

	while ((creation = creation_list_take(list)) != NULL) creation_forget(creation);
}
