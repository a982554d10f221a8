#include "series.h"

void series_begin(struct series *series, double interval_s, uint64_t now_ns)
{
    json_decref(series->intervals);
    *series = (struct series){
        .interval_ns = (uint64_t)(interval_s * 1e9),
        .start_ns = now_ns,
        .begun_ns = now_ns,
        .intervals = json_array(),
    };
}

void series_answered(struct series *series, uint64_t latency_us)
{
    if (series->interval_ns > 0) {
        histogram_record(&series->latency, latency_us);
    }
}

void series_failed(struct series *series, enum belay_status status)
{
    report_error(&series->errors, status);
}

static void end_interval(struct series *series, uint64_t now_ns)
{
    json_t *interval = report_latency_json(&series->latency);

    json_object_set_new(interval, "at",
                        json_real((double)(series->begun_ns - series->start_ns) / 1e9));
    json_object_set_new(interval, "seconds", json_real((double)(now_ns - series->begun_ns) / 1e9));
    json_object_set_new(interval, "errors", report_errors_json(&series->errors));
    json_array_append_new(series->intervals, interval);
    series->latency = (struct histogram){0};
    series->errors = (struct report_errors){0};
    series->begun_ns = now_ns;
}

void series_tick(struct series *series, uint64_t now_ns)
{
    if (series->interval_ns > 0 && now_ns - series->begun_ns >= series->interval_ns) {
        end_interval(series, now_ns);
    }
}

json_t *series_end(struct series *series, uint64_t now_ns)
{
    if (series->interval_ns > 0 && now_ns > series->begun_ns) {
        end_interval(series, now_ns);
    }
    json_t *intervals = series->intervals;
    *series = (struct series){0};
    return intervals;
}
