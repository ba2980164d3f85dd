/*
 * Chained hash tables over libpmemobj, as a user of it would write them, in two ways: with transactions, and with the
 * atomic ("reserve and publish") calls. The tables have as many buckets as keys are expected, and do not grow.
 *
 * Callers hold a lock of the bucket for each call, and of both buckets for add_once.
 *
 * At the end of the file fences are counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <libpmemobj.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLES = 3, COUNTERS = 1, COMPLETIONS = 2 };

struct node {
	uint64_t key;
	uint64_t next; /* offset in the pool, 0 for none */
	uint64_t bytes;
	char value[];
};

struct root {
	uint64_t buckets; /* in each table: a power of two */
	uint64_t tables;  /* offset of TABLES * buckets offsets of nodes */
};

struct store {
	PMEMobjpool *pool;
	uint64_t buckets;
	uint64_t *tables;
	uint64_t uuid;
	int transactional;
};

static void *at(const struct store *s, uint64_t offset)
{
	return (char *)s->pool + offset;
}

static PMEMoid oid(const struct store *s, uint64_t offset)
{
	PMEMoid id = {s->uuid, offset};
	return id;
}

/* The word that holds the offset of the node with this key, or 0 at the end of its chain. */
static uint64_t *link_of(const struct store *s, int table, uint64_t key)
{
	uint64_t *link = &s->tables[(uint64_t)table * s->buckets + (key & (s->buckets - 1))];
	while (*link != 0) {
		struct node *n = at(s, *link);
		if (n->key == key)
			break;
		link = &n->next;
	}
	return link;
}

struct store *abide_pmemobj_open(const char *path, size_t size, uint64_t buckets, int transactional)
{
	struct store *s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	int found = access(path, F_OK) == 0;
	s->pool = found ? pmemobj_open(path, "bench") : pmemobj_create(path, "bench", size, 0600);
	if (s->pool == NULL)
		goto failed;
	PMEMoid root_id = pmemobj_root(s->pool, sizeof(struct root));
	if (OID_IS_NULL(root_id))
		goto failed;
	struct root *root = pmemobj_direct(root_id);
	s->uuid = root_id.pool_uuid_lo;
	s->transactional = transactional;
	if (root->tables == 0) {
		PMEMoid tables;
		if (pmemobj_zalloc(s->pool, &tables, TABLES * buckets * sizeof(uint64_t), 1) != 0)
			goto failed;
		root->buckets = buckets;
		pmemobj_persist(s->pool, &root->buckets, sizeof root->buckets);
		root->tables = tables.off;
		pmemobj_persist(s->pool, &root->tables, sizeof root->tables);
	}
	s->buckets = root->buckets;
	s->tables = at(s, root->tables);
	return s;
failed:
	if (s->pool != NULL)
		pmemobj_close(s->pool);
	free(s);
	return NULL;
}

void abide_pmemobj_close(struct store *s)
{
	pmemobj_close(s->pool);
	free(s);
}

const char *abide_pmemobj_error(void)
{
	return pmemobj_errormsg();
}

uint64_t abide_pmemobj_buckets(const struct store *s)
{
	return s->buckets;
}

const void *abide_pmemobj_get(const struct store *s, uint64_t key, size_t *bytes)
{
	uint64_t offset = *link_of(s, 0, key);
	if (offset == 0)
		return NULL;
	struct node *n = at(s, offset);
	*bytes = n->bytes;
	return n->value;
}

/* Inside of a transaction. */
static int put_in_transaction(struct store *s, int table, uint64_t key, const void *value, size_t bytes)
{
	uint64_t *link = link_of(s, table, key);
	if (*link != 0) {
		struct node *n = at(s, *link);
		if (n->bytes == bytes) {
			int error = pmemobj_tx_add_range_direct(n->value, bytes);
			if (error == 0)
				memcpy(n->value, value, bytes);
			return error;
		}
		return EINVAL; /* values of one size are all that is measured */
	}
	PMEMoid id = pmemobj_tx_alloc(sizeof(struct node) + bytes, 2);
	if (OID_IS_NULL(id))
		return ENOMEM;
	struct node *n = at(s, id.off);
	n->key = key;
	n->next = 0;
	n->bytes = bytes;
	memcpy(n->value, value, bytes);
	int error = pmemobj_tx_add_range_direct(link, sizeof *link);
	if (error == 0)
		*link = id.off;
	return error;
}

/* Reserves a node that is published with the other actions. */
static int reserve(struct store *s, struct pobj_action *actions, uint64_t *link, uint64_t next, uint64_t key,
		   const void *value, size_t bytes)
{
	PMEMoid id = pmemobj_reserve(s->pool, &actions[0], sizeof(struct node) + bytes, 2);
	if (OID_IS_NULL(id))
		return ENOMEM;
	struct node *n = at(s, id.off);
	n->key = key;
	n->next = next;
	n->bytes = bytes;
	memcpy(n->value, value, bytes);
	pmemobj_flush(s->pool, n, sizeof *n + bytes); /* publishing drains */
	pmemobj_set_value(s->pool, &actions[1], link, id.off);
	return 0;
}

static int put_atomically(struct store *s, uint64_t key, const void *value, size_t bytes)
{
	struct pobj_action actions[3];
	size_t count = 2;
	uint64_t *link = link_of(s, 0, key), old = *link;
	int error = reserve(s, actions, link, old != 0 ? ((struct node *)at(s, old))->next : 0, key, value, bytes);
	if (error != 0)
		return error;
	if (old != 0)
		pmemobj_defer_free(s->pool, oid(s, old), &actions[count++]);
	return pmemobj_publish(s->pool, actions, count);
}

int abide_pmemobj_put(struct store *s, uint64_t key, const void *value, size_t bytes)
{
	if (!s->transactional)
		return put_atomically(s, key, value, bytes);
	int error = pmemobj_tx_begin(s->pool, NULL, TX_PARAM_NONE);
	if (error == 0)
		error = put_in_transaction(s, 0, key, value, bytes);
	if (pmemobj_tx_stage() == TX_STAGE_WORK)
		error == 0 ? pmemobj_tx_commit() : pmemobj_tx_abort(error);
	int ended = pmemobj_tx_end();
	return error != 0 ? error : ended;
}

/* 0: deleted. ENOENT: there was none. */
int abide_pmemobj_delete(struct store *s, uint64_t key)
{
	uint64_t *link = link_of(s, 0, key), old = *link;
	if (old == 0)
		return ENOENT;
	uint64_t next = ((struct node *)at(s, old))->next;
	if (!s->transactional) {
		struct pobj_action actions[2];
		pmemobj_set_value(s->pool, &actions[0], link, next);
		pmemobj_defer_free(s->pool, oid(s, old), &actions[1]);
		return pmemobj_publish(s->pool, actions, 2);
	}
	int error = pmemobj_tx_begin(s->pool, NULL, TX_PARAM_NONE);
	if (error == 0)
		error = pmemobj_tx_add_range_direct(link, sizeof *link);
	if (error == 0) {
		*link = next;
		error = pmemobj_tx_free(oid(s, old));
	}
	if (pmemobj_tx_stage() == TX_STAGE_WORK)
		error == 0 ? pmemobj_tx_commit() : pmemobj_tx_abort(error);
	int ended = pmemobj_tx_end();
	return error != 0 ? error : ended;
}

/* Adds once, and tells the sum. */
int abide_pmemobj_add_once(struct store *s, uint64_t counter, uint64_t client, uint64_t sequence, uint64_t by,
			   uint64_t *sum)
{
	uint64_t *counter_link = link_of(s, COUNTERS, counter);
	uint64_t *client_link = link_of(s, COMPLETIONS, client);
	uint64_t *current = *counter_link != 0 ? (uint64_t *)((struct node *)at(s, *counter_link))->value : NULL;
	uint64_t *last = *client_link != 0 ? (uint64_t *)((struct node *)at(s, *client_link))->value : NULL;
	if (last != NULL && last[0] == sequence) {
		*sum = last[1];
		return 0;
	}
	*sum = (current != NULL ? *current : 0) + by;
	uint64_t completion[2] = {sequence, *sum};
	if (!s->transactional) {
		struct pobj_action actions[5];
		size_t count = 0;
		int error = 0;
		if (current != NULL) {
			pmemobj_set_value(s->pool, &actions[count++], current, *sum);
		} else {
			error = reserve(s, &actions[count], counter_link, 0, counter, sum, sizeof *sum);
			count += 2;
		}
		if (error == 0 && last != NULL) {
			pmemobj_set_value(s->pool, &actions[count++], &last[0], sequence);
			pmemobj_set_value(s->pool, &actions[count++], &last[1], *sum);
		} else if (error == 0) {
			error = reserve(s, &actions[count], client_link, 0, client, completion, sizeof completion);
			count += 2;
		}
		return error != 0 ? error : pmemobj_publish(s->pool, actions, count);
	}
	int error = pmemobj_tx_begin(s->pool, NULL, TX_PARAM_NONE);
	if (error == 0)
		error = put_in_transaction(s, COUNTERS, counter, sum, sizeof *sum);
	if (error == 0)
		error = put_in_transaction(s, COMPLETIONS, client, completion, sizeof completion);
	if (pmemobj_tx_stage() == TX_STAGE_WORK)
		error == 0 ? pmemobj_tx_commit() : pmemobj_tx_abort(error);
	int ended = pmemobj_tx_end();
	return error != 0 ? error : ended;
}

uint64_t abide_pmemobj_sum(const struct store *s, uint64_t counter)
{
	uint64_t offset = *link_of(s, COUNTERS, counter);
	return offset != 0 ? *(uint64_t *)((struct node *)at(s, offset))->value : 0;
}

/*
 * Fences. All of libpmem's end in pmem_drain, which libpmem and libpmemobj call through the dynamic linker: it finds
 * this one first (build.rs exports it), which calls the real one. Every thread counts in a line of its own, so that
 * counting costs a nanosecond and not the passing of a line between processors.
 */
enum { LINES = 256 };

static struct {
	uint64_t fences;
	char rest_of_line[56];
} counted[LINES];

static unsigned next_line;
static __thread unsigned own_line = LINES;

uint64_t abide_pmemobj_fences(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < LINES; i++)
		sum += __atomic_load_n(&counted[i].fences, __ATOMIC_RELAXED);
	return sum;
}

static void (*real_drain)(void);

__attribute__((constructor)) static void find_real_drain(void)
{
	*(void **)&real_drain = dlsym(RTLD_NEXT, "pmem_drain");
}

void pmem_drain(void)
{
	if (own_line == LINES)
		own_line = __atomic_fetch_add(&next_line, 1, __ATOMIC_RELAXED) % LINES;
	/* Threads share a line only if there have been more than LINES, and then not at once. */
	uint64_t *fences = &counted[own_line].fences;
	__atomic_store_n(fences, __atomic_load_n(fences, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	real_drain();
}
