/** Follows jobs of Mainspring in a browser. */

export type JobState = "blocked" | "scheduled" | "queued" | "running" | "completed" | "dead" | "cancelled";

export interface JobError {
  type: string;
  message: string;
  /** Only for those who may look at all jobs. */
  traceback?: string;
}

/** A job, as far as it is known by now. Times are such as "2026-11-28T08:42:29.342Z". */
export interface Job<Result = unknown> {
  id?: string;
  task?: string;
  state: JobState | null;
  attempt?: number;
  /** 0 to 100; null: its task has not said. */
  progress: number | null;
  text: string | null;
  /** What it has put out so far with `ctx.output`. */
  output: string;
  result: Result | null;
  /** What its latest run failed with, if the ticket shows it. */
  error: JobError | null;
  reason?: string | null;
  created_at?: string;
  run_at?: string;
  started_at?: string | null;
  finished_at?: string | null;
  cancel_requested?: boolean;
}

export interface LogLine {
  /** Its place in the log, which rises from line to line. */
  n: number;
  at: string;
  text: string;
}

export interface WatchError {
  detail: string;
  /** The server's answer, where it has given one. */
  status?: number;
  /** True: given up. False: tried again. */
  final: boolean;
}

export interface Handlers<Result = unknown> {
  onState?(job: Job<Result>): void;
  onProgress?(job: Job<Result>): void;
  onLog?(line: LogLine, job: Job<Result>): void;
  onOutput?(text: string, job: Job<Result>): void;
  onDone?(job: Job<Result>): void;
  onError?(error: WatchError): void;
}

export interface Following<Result = unknown> {
  readonly job: Job<Result>;
  close(): void;
  /** Ask for the job to be cancelled; whether there was anything to cancel. */
  cancel(): Promise<boolean>;
}

/** Follow the job at a URL that `mainspring.web.job_url` has made. */
export function watch<Result = unknown>(jobUrl: string | URL, handlers?: Handlers<Result>): Following<Result>;

/** `<mainspring-progress job="…" label="Export">` */
export class MainspringProgress extends HTMLElement {
  readonly value: Job | null;
  cancel(): Promise<boolean>;
}

declare global {
  interface HTMLElementTagNameMap {
    "mainspring-progress": MainspringProgress;
  }
  interface GlobalEventHandlersEventMap {
    "job-state": CustomEvent<Job>;
    "job-progress": CustomEvent<Job>;
    "job-log": CustomEvent<LogLine>;
    "job-output": CustomEvent<Job>;
    "job-done": CustomEvent<Job>;
    "job-error": CustomEvent<WatchError>;
  }
}
