/** Pages of a long list that lives on the server: what is in sight is here, the rest is asked for when it comes. */

export interface Page<T> {
  items: T[];
  /** How many there are in all that match, of how many. */
  matching: number;
  total: number;
}

export interface PagesOptions<T> {
  load: (start: number, limit: number, signal: AbortSignal) => Promise<Page<T>>;
  changed: () => void;
  /** Items of a page. */
  size?: number;
  /** Milliseconds in which a place must stay in sight after a jump: what flies by is not asked for. */
  pause?: number;
  /** Pages that are kept: memory stays the same however long the list is. */
  kept?: number;
}

/** Requests under way at the same time. */
const PARALLEL = 2;

/**
 * `want` says what is in sight; missing pages are loaded, the ones in sight first, and those that nobody wants any
 * more are given up. After `refresh` what is shown stays until its newer page is here.
 */
export class Pages<T> {
  constructor(private readonly options: PagesOptions<T>) {
    this.size = options.size ?? 100;
    this.kept = options.kept ?? 60;
    this.pause = options.pause ?? 60;
  }

  /** Null until the first page is here. */
  matching: number | null = null;
  total: number | null = null;
  problem: unknown = null;

  at(index: number): T | undefined {
    return this.pages.get(Math.floor(index / this.size))?.items[index % this.size];
  }

  /** Items from `first` to `last` are in sight. */
  want(first: number, last: number): void {
    const jumped = Math.abs(Math.floor(Math.max(0, first) / this.size) - this.first) > 1 || this.timer !== undefined;
    this.first = Math.floor(Math.max(0, first) / this.size);
    this.last = Math.floor(Math.max(first, last) / this.size);
    for (const [page, request] of this.requests) {
      if (page < this.first - 1 || page > this.last + 1) {
        request.abort();
        this.requests.delete(page);
      }
    }
    clearTimeout(this.timer);
    this.timer = undefined;
    if (jumped && this.pause) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.fill();
      }, this.pause);
    } else {
      this.fill();
    }
  }

  /** Everything may have changed: the pages in sight are asked for again. */
  refresh(): void {
    this.generation += 1;
    this.problem = null;
    this.fill();
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.timer);
    this.requests.forEach(request => request.abort());
    this.requests.clear();
  }

  get loading(): boolean {
    return this.requests.size > 0;
  }

  private fill(): void {
    for (let page = this.first; page <= this.last && this.requests.size < PARALLEL; page += 1) {
      const outside = this.matching !== null && page > 0 && page * this.size >= this.matching;
      const fresh = this.pages.get(page)?.generation === this.generation;
      if (!outside && !fresh && !this.requests.has(page) && this.problem === null) {
        void this.request(page);
      }
    }
  }

  private async request(page: number): Promise<void> {
    const request = new AbortController();
    this.requests.set(page, request);
    const generation = this.generation;
    try {
      const found = await this.options.load(page * this.size, this.size, request.signal);
      if (this.requests.get(page) !== request) {
        return; // nobody wants it any more
      }
      this.matching = found.matching;
      this.total = found.total;
      this.keep(page, { items: found.items, generation });
    } catch (error) {
      if (this.requests.get(page) !== request) {
        return;
      }
      this.problem = error;
    }
    this.requests.delete(page);
    if (!this.disposed) {
      this.fill();
      this.options.changed();
    }
  }

  private keep(page: number, loaded: { items: T[]; generation: number }): void {
    this.pages.delete(page);
    this.pages.set(page, loaded);
    for (const oldest of this.pages.keys()) {
      if (this.pages.size <= this.kept) {
        break;
      }
      if (oldest < this.first || oldest > this.last) {
        this.pages.delete(oldest);
      }
    }
  }

  private readonly size: number;
  private readonly kept: number;
  private readonly pause: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly pages = new Map<number, { items: T[]; generation: number }>();
  private readonly requests = new Map<number, AbortController>();
  private generation = 0;
  private first = 0;
  private last = 0;
  private disposed = false;
}
